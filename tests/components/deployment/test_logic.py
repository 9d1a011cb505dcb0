"""A release is whole or it never was: the alias decides, and the gate's verdict is checked again."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.deployment import logic
from components.shared import processes, recovery, registry, releases
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, StepFailed
from components.shared.files import write_json
from tests import documents

NAME = "tiny"
PROJECT: Any = SimpleNamespace(name=NAME)
PROMOTED = documents.verdict()
REJECTED = documents.verdict(promote=False)
# A process that has this number now, but started at another time: the one that wrote is gone.
DEAD = releases.Journal(NAME, "2", "1", "1", os.getpid(), "0")


@pytest.fixture(scope="module")
def registry_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    client = registry.open(uri)
    client.create_registered_model(NAME)
    for _ in range(2):
        client.create_model_version(NAME, "file:///nowhere")
    return uri


@pytest.fixture
def client(registry_uri: str) -> Iterator[Any]:
    opened = registry.open(registry_uri)
    registry.move_alias(opened, NAME, registry.CHAMPION, "1")
    yield opened


@pytest.fixture
def endpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "endpoint"
    releases.write_active(folder, "1")
    return folder


def placed(tmp_path: Path, verdict: Verdict, name: str = NAME) -> tuple[Path, Path]:
    verdict.write(tmp_path / "verdict")
    notes = {"name": name, "version": "2", "storage_uri": (tmp_path / "model").as_uri()}
    write_json(tmp_path / "release" / "release.json", notes)
    documents.model_facts().write(tmp_path / "model")
    documents.package_sample().write(tmp_path / "model")
    return tmp_path / "release", tmp_path / "verdict"


def state(endpoint: Path, client: Any) -> tuple[str | None, str | None, releases.Journal | None]:
    return releases.active(endpoint), registry.champion(client, NAME), releases.journal(endpoint)


def test_what_the_gate_did_not_promote_is_never_released(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, REJECTED)

    with pytest.raises(GateRejected, match=r"auc \+0\.20, at least \+0\.15"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)
    assert not (endpoint / "releases").exists()


def test_without_a_server_nothing_is_released(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)

    with pytest.raises(StepFailed, match=r"No server runs.*perennial serve"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)


def test_a_server_that_does_not_answer_leaves_everything_as_it_was(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    here = os.getpid()
    releases.write_server(endpoint, releases.Server(here, processes.started(here), "http://127.0.0.1:9", None))

    with pytest.raises(StepFailed, match="No model server answers at"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)
    assert not (endpoint / "releases" / "2").exists()


def test_a_release_of_another_model_is_refused(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED, name="other")

    with pytest.raises(StepFailed, match="'other'"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))


def test_two_releases_are_never_under_way_at_once(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    living = replace(DEAD, started=processes.started(os.getpid()))
    releases.write_journal(endpoint, living)

    with pytest.raises(StepFailed, match="Release 2 is under way in process"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert recovery.recover(endpoint, registry_uri) is None
    assert state(endpoint, client) == ("1", "1", living)


def test_what_answers_already_is_not_released_again(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    registry.move_alias(client, NAME, registry.CHAMPION, "2")
    releases.write_active(endpoint, "2")

    assert logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint)) == "unchanged"


@pytest.mark.parametrize(
    "champion, active, undoing, outcome, version",
    [
        ("1", "1", False, "taken back", "1"),
        ("2", "1", False, "finished", "2"),
        ("2", "2", False, "finished", "2"),
        ("2", "2", True, "taken back", "1"),
        ("2", "1", True, "taken back", "1"),
        ("1", "1", True, "taken back", "1"),
    ],
)
def test_a_release_that_was_killed_is_finished_once_the_alias_moved_and_taken_back_before(
    endpoint, client, registry_uri, champion, active, undoing, outcome, version
):
    registry.move_alias(client, NAME, registry.CHAMPION, champion)
    releases.write_active(endpoint, active)
    releases.write_journal(endpoint, replace(DEAD, undoing=undoing))

    assert recovery.recover(endpoint, registry_uri) == outcome
    assert state(endpoint, client) == (version, version, None)
    assert recovery.recover(endpoint, registry_uri) is None


def test_a_first_release_that_was_killed_leaves_nothing_active_and_no_champion(endpoint, client, registry_uri):
    registry.move_alias(client, NAME, registry.CHAMPION, None)
    releases.write_active(endpoint, None)
    (endpoint / "releases" / "2").mkdir(parents=True)
    releases.write_journal(endpoint, replace(DEAD, former=None, former_champion=None))

    assert recovery.recover(endpoint, registry_uri) == "taken back"
    assert state(endpoint, client) == (None, None, None)
    assert not (endpoint / "releases" / "2").exists()


@pytest.mark.parametrize("version", ["../x", "a/b", "", ".", "x" * 200])
def test_a_version_that_is_no_plain_name_never_becomes_a_path(endpoint, tmp_path, version):
    (tmp_path / "release").mkdir()

    with pytest.raises(StepFailed, match="no plain name"):
        releases.install(tmp_path / "release", endpoint, version)


def test_a_process_is_known_by_number_and_start():
    assert processes.alive(os.getpid(), processes.started(os.getpid()))
    assert not processes.alive(os.getpid(), "0")
    assert not processes.alive(os.getpid(), None)
    assert processes.started(2**22 + 1) is None
