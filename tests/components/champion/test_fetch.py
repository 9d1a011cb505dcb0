"""The champion step copies out what the registry holds, checks it, and says so where there is nothing."""

import hashlib

import pytest

from components.champion import logic
from components.registration.logic import register
from components.rejection.logic import reject
from components.shared import files, registry
from components.shared.documents.accepted import AcceptedRecord
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import OldRows
from components.shared.documents.start import StartRecord
from components.shared.errors import StepFailed
from tests import documents
from tests.components import made_candidate
from tests.components.made_candidate import CODE, empty_registry


def _fetch(uri, out):
    version = logic.fetch(
        made_candidate.project(), uri, out / "model", out / "accepted", out / "measured", out / "start"
    )
    return version, ChampionRecord.read(out / "model"), AcceptedRecord.read(out / "accepted")


def _register(folder, uri, **changed):
    evidence = made_candidate.evidence(folder, **changed)
    return evidence, register(evidence, uri, CODE, folder / "release", folder / "card.md", folder / "card.html")


def test_before_the_first_run_there_is_neither_champion_nor_accepted_data(tmp_path):
    version, champion, accepted = _fetch(empty_registry(tmp_path / "state"), tmp_path / "out")

    assert version is None
    assert champion.version is None
    assert accepted == AcceptedRecord(run_id=None, snapshot_hash=None)
    assert not (tmp_path / "out" / "model" / "package").exists()


def test_a_challenger_is_no_champion_until_the_alias_moves(tmp_path):
    uri = empty_registry(tmp_path / "state")
    evidence, registered = _register(tmp_path / "candidate", uri)

    before, _, _ = _fetch(uri, tmp_path / "before")
    registry.move_alias(registry.open(uri), "made", "champion", registered)
    after, champion, _ = _fetch(uri, tmp_path / "after")

    assert (before, after) == (None, registered)
    assert champion.version == registered
    assert files.sha256(tmp_path / "after" / "model" / "package") == files.sha256(evidence.model)


def test_the_last_accepted_data_is_the_newest_that_a_run_finished_with_rejected_or_not(tmp_path):
    uri = empty_registry(tmp_path / "state")
    _register(tmp_path / "one", uri, snapshot_hash="1" * 64)
    rejected = made_candidate.evidence(tmp_path / "two", snapshot_hash="2" * 64, promote=False)
    run_id = reject(rejected, uri, CODE, tmp_path / "advice.md")
    client = registry.open(uri)
    client.create_run(registry.experiment(client, uri, "made"), tags={registry.ACCEPTED: "true"})

    _, _, accepted = _fetch(uri, tmp_path / "out")

    assert accepted == AcceptedRecord(run_id=run_id, snapshot_hash="2" * 64)
    statistics = tmp_path / "out" / "accepted" / "statistics" / "rows.pb"
    assert statistics.read_bytes() == (rejected.statistics / "rows.pb").read_bytes()


def test_another_project_in_the_same_registry_is_not_looked_at(tmp_path):
    uri = empty_registry(tmp_path / "state")
    _register(tmp_path / "other", uri, named=made_candidate.project(name="other"))

    version, _, accepted = _fetch(uri, tmp_path / "out")

    assert version is None
    assert accepted.run_id is None


def test_a_package_that_changed_in_the_registry_stops_the_run(tmp_path):
    uri = empty_registry(tmp_path / "state")
    _, registered = _register(tmp_path / "candidate", uri)
    client = registry.open(uri)
    registry.move_alias(client, "made", "champion", registered)
    stored = files.from_uri(client.get_model_version("made", registered).source)
    (stored / "model.onnx").write_bytes(b"another network")

    with pytest.raises(StepFailed, match=r"has changed or lost \['model.onnx'\]; expected .* restore"):
        _fetch(uri, tmp_path / "out")


def test_artifacts_that_are_lost_are_one_sentence(tmp_path):
    uri = empty_registry(tmp_path / "state")
    _, registered = _register(tmp_path / "candidate", uri)
    registry.move_alias(registry.open(uri), "made", "champion", registered)
    (tmp_path / "state" / "mlartifacts").rename(tmp_path / "elsewhere")

    with pytest.raises(
        StepFailed, match=r"cannot read the artifacts .* \(.*No such .*\); restore them if they were moved"
    ):
        _fetch(uri, tmp_path / "out")


def test_an_alias_moves_to_a_version_to_none_and_to_where_it_is(tmp_path):
    uri = empty_registry(tmp_path / "state")
    _, registered = _register(tmp_path / "candidate", uri)
    client, seen = registry.open(uri), []

    for version in (None, registered, registered, None, None):
        registry.move_alias(client, "made", "champion", version)
        seen.append(registry.champion(client, "made"))

    assert seen == [None, registered, registered, None, None]


def _start(folder, method, **changed):
    """Release a version, fetch it as a project with this method does, and return the output of the start."""
    uri = empty_registry(folder / "state")
    evidence = made_candidate.evidence(folder / "candidate", **changed)
    if method != "older package":
        documents.package_preprocessing().write(evidence.model)
        for name in ("network.keras", "trees.txt"):
            (evidence.model / name).write_text(f"weights of {name}")
        documents.seal(evidence.model)
    version = register(evidence, uri, CODE, folder / "release", folder / "card.md", folder / "card.html")
    registry.move_alias(registry.open(uri), "made", "champion", version)
    project = made_candidate.project(retraining={"method": "scratch" if method == "scratch" else "warm start"})
    logic.fetch(project, uri, *(folder / name for name in ("model", "accepted", "measured", "start")))
    return version, folder / "start"


def test_a_warm_start_gets_what_it_continues_and_nothing_else(tmp_path):
    version, start = _start(tmp_path, "warm start")

    assert StartRecord.read(start).version == version
    names = {path.name for path in (start / StartRecord.PACKAGE).iterdir()}
    assert names == {"model.json", "preprocessing.json", "seen.parquet", "network.keras", "trees.txt"}


def test_from_scratch_the_start_is_the_same_whichever_version_is_the_champion(tmp_path):
    _, first = _start(tmp_path / "a", "scratch")
    _, second = _start(tmp_path / "b", "scratch", weights_hash="b" * 64)

    assert files.sha256(first) == files.sha256(second)
    assert [path.name for path in first.iterdir()] == [StartRecord.FILE]


def test_of_an_older_package_only_the_facts_are_handed_on(tmp_path):
    version, start = _start(tmp_path, "older package")

    assert StartRecord.read(start).version == version
    assert [path.name for path in (start / StartRecord.PACKAGE).iterdir()] == ["model.json"]


def _with_old_rows(folder, content):
    """Release a version whose evaluation names old rows and holds these."""
    uri = empty_registry(folder / "state")
    evidence = made_candidate.evidence(folder / "candidate")
    old = OldRows(
        rows=1, content_hash=hashlib.sha256(b"rows").hexdigest(), newest="2025-01-01T00:00:00+00:00",
        metric="log_loss", loss=0.4, first_loss=0.4, chosen_because="no release before it had any",
    )  # fmt: skip
    documents.evaluation(old_rows=old).write(evidence.evaluation)
    (evidence.evaluation / OldRows.FILE).write_bytes(content)
    version = register(evidence, uri, CODE, folder / "release", folder / "card.md", folder / "card.html")
    registry.move_alias(registry.open(uri), "made", "champion", version)
    return uri


def test_the_old_rows_of_the_champion_are_handed_on(tmp_path):
    _fetch(_with_old_rows(tmp_path, b"rows"), tmp_path / "out")

    assert (tmp_path / "out/model" / OldRows.FILE).read_bytes() == b"rows"


def test_old_rows_that_are_not_those_of_the_release_stop_the_run(tmp_path):
    with pytest.raises(StepFailed, match=r"Version 1 of model 'made' .* changed its old rows.*; expected the SHA-256"):
        _fetch(_with_old_rows(tmp_path, b"other rows"), tmp_path / "out")
