"""A candidate is exposed step by step while the endpoint is served, or waits for whoever has to approve it."""

import getpass
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from components.shared import inference
from components.shared.documents.package_sample import PackageSample
from components.shared.documents.release import RegisteredVersion
from components.shared.files import from_uri
from components.shared.release import endpoint_folder
from components.shared.release.file_journal import FileJournalStore
from components.shared.release.journal import ReleaseJournal
from components.shared.release.machine import Phase, ReleaseState
from components.shared.release.plan import BASIC
from pipelines.images.environments import ROOT
from pipelines.replay.outcome import ReplayOutcome
from tests.end_to_end.command import edit, perennial, serving

EXPOSED = {"soak_s": 0, "min_requests": 30, "deadline_s": 600}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped example with a released model."""
    folder = tmp_path_factory.mktemp("released")
    shutil.copy(ROOT / "project.yaml", folder)
    shutil.copytree(ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    edit(folder, tuning={"trials": 0}, training={"families": ["plain"]})
    perennial("run", "--simulate", cwd=folder)
    return folder


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.3)


def asked(folder: Path, requests: int = 300) -> bool:
    """Ask the endpoint for the sample again and again: each step of a release needs requests of its own."""
    endpoint = folder / ".perennial" / "endpoint"
    server = endpoint_folder.server(endpoint)
    assert server is not None
    package = from_uri(RegisteredVersion.read(endpoint_folder.release_folder(endpoint, "1")).storage_uri)
    rows = PackageSample.read(package).rows
    for _ in range(requests):
        inference.predict(server.url, "churn", rows)
    return True


def status(folder: Path) -> str:
    return perennial("release", "status", cwd=folder).stdout


def test_a_canary_takes_over_step_by_step_and_each_step_is_recorded(example):
    edit(example, release={"strategy": "canary", "shares": [20, 50], **EXPOSED}, training={"batch_size": 128})
    with serving(example):
        begun = perennial("run", cwd=example).stdout
        assert "version 2 has passed the gate and is exposed step by step" in begun
        until(lambda: "release 2 gets 20 % of the requests (canary, step 1 of 2); release 1 answers" in status(example))
        until(lambda: asked(example) and "no release is under way; release 2, at http://" in status(example))

    history = perennial("release", "history", cwd=example).stdout
    assert "release begun" in history and "release step" in history and "no harm in" in history
    assert "entries, none of them edited" in perennial("audit", "verify", cwd=example).stdout


def test_a_release_between_two_steps_is_under_way(example, tmp_path):
    """Its journal says so, although nothing waits at that moment."""
    folder = tmp_path / "between"
    shutil.copytree(example, folder, symlinks=True)
    endpoint = folder / ".perennial" / "endpoint"
    release = RegisteredVersion.read(endpoint_folder.release_folder(endpoint, "2"))
    journal = ReleaseJournal(release=release, former="1", former_champion="1", plan=BASIC)
    with FileJournalStore(endpoint).hold() as _:
        FileJournalStore(endpoint).write(journal.in_state(ReleaseState(Phase.EXPOSE)))

        assert "release 2 is on its way (expose)" in status(folder)


def test_a_shadow_waits_for_its_approval_and_can_be_taken_back(example):
    me = getpass.getuser()
    edit(
        example, release={"strategy": "shadow", "approvers": ["somebody-else"], **EXPOSED}, training={"batch_size": 64}
    )
    with serving(example):
        perennial("run", cwd=example)
        until(
            lambda: asked(example) and "waits for the approval of somebody-else; release 2 answers" in status(example)
        )
        refused = perennial("release", "approve", cwd=example, expect=2).stderr
        assert f"'{me}' may not approve release 3" in refused
        assert "it waits for the approval of" in perennial("release", "promote", cwd=example).stdout
        taken = perennial("release", "abort", "--why", "nobody is here", cwd=example).stdout
        assert "release 3 is taken back, release 2 answers: nobody is here" in taken
    assert "no release is under way" in status(example)
    assert "no release is under way" in perennial("release", "promote", cwd=example, expect=2).stderr


def test_a_shadow_takes_over_once_labels_show_that_it_is_better(example):
    """The champion of the example meets a world that has changed; the shadow has learned it."""
    folder, labels = example.parent / "labeled", ".perennial/traffic/labels.parquet"
    shutil.copytree(example, folder, symlinks=True)
    shadow = {"strategy": "shadow", "approvers": [], **EXPOSED, "deadline_s": 8640000, "labels": "better"}
    edit(folder, release=shadow, split={"newest_days": 240, "validation": 0.25, "test": 0.25})
    changed = ("--switch", "concept-drift@2025-05")
    perennial("simulate", "--months", "26", *changed, cwd=folder)
    with serving(folder):
        begun = perennial("run", cwd=folder).stdout
        assert "has passed the gate and is exposed step by step" in begun
        perennial("simulate", "--months", "18", *changed, cwd=folder)
        perennial("traffic", "--rate", "2000", "--months", "4", *changed, cwd=folder)
        until(lambda: "right alone" in status(folder))
        waiting = perennial("release", "watch", "--once", cwd=folder).stdout
        assert "the labels do not show yet that it is better: of 0 labeled rows" in waiting
        perennial("labels", "add", labels, cwd=folder)
        until(lambda: "no release is under way" in status(folder))
    history = perennial("release", "history", cwd=folder).stdout
    assert "it is better: of" in " ".join(history.split())


def test_an_a_b_test_ends_with_the_version_that_is_right_for_more_entities(example):
    folder, labels = example.parent / "tested", ".perennial/traffic/labels.parquet"
    shutil.copytree(example, folder, symlinks=True)
    tested = {"strategy": "ab", "approvers": [], "smallest_effect": 0.05, "look_every_s": 1}
    edit(
        folder,
        release=tested | EXPOSED | {"deadline_s": 8640000},
        split={"newest_days": 240, "validation": 0.25, "test": 0.25},
    )
    changed = ("--switch", "concept-drift@2025-05")
    perennial("simulate", "--months", "26", *changed, cwd=folder)
    with serving(folder):
        perennial("run", cwd=folder)
        perennial("simulate", "--months", "18", *changed, cwd=folder)
        perennial("traffic", "--rate", "1000", "--months", "4", *changed, cwd=folder)
        until(lambda: "A/B test: nothing of the needed outcomes" in status(folder))
        assert "gets 50 % of the requests (ab, step 1 of 1)" in status(folder)
        perennial("labels", "add", labels, cwd=folder)
        until(lambda: "no release is under way" in status(folder))
    history = " ".join(perennial("release", "history", cwd=folder).stdout.split())
    assert "it is better, as look" in history and "labels 0." in history


def test_a_rollback_takes_a_release_back_that_waits(example):
    edit(example, release={"strategy": "canary", "approvers": [], **EXPOSED}, training={"batch_size": 32})
    with serving(example):
        perennial("run", cwd=example)
        assert "release 4 gets 20 % of the requests" in status(example)
        assert "rolled back: release 2 of churn answers" in perennial("rollback", cwd=example).stdout
        assert "no release is under way; release 2" in status(example)


def test_two_quiet_months_are_played_and_nothing_is_retrained(example):
    said = perennial("replay", "--scenario", "none", "--months", "2", cwd=example).stdout

    assert "Nothing changed. No new release." in said
    outcome = ReplayOutcome.read(example / ".perennial" / "replay" / "none")
    assert len(outcome.weeks) == 8 and all(week.rows > 100 for week in outcome.weeks)
    assert {week.versions for week in outcome.weeks} == {("1",)}
    assert [week.gain for week in outcome.weeks] == [week.never for week in outcome.weeks]
    assert "<svg" in (example / ".perennial" / "replay" / "none" / "replay.html").read_text(encoding="utf-8")
    absent = perennial("replay", "--scenario", "moon", cwd=example, expect=2).stderr
    assert "there is no scenario 'moon'" in absent
