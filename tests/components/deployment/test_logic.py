"""A release is whole or it never was: the alias decides, and the gate's verdict is checked again."""

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.deployment import logic
from components.shared import processes, registry
from components.shared.documents.release import RegisteredVersion
from components.shared.documents.verdict import Verdict
from components.shared.errors import GateRejected, StepFailed
from components.shared.files import write_json
from components.shared.project import ReleaseSettings
from components.shared.release import endpoint_folder, local, routing
from components.shared.release.champion_alias import MlflowChampionAlias
from components.shared.release.endpoint_folder import EndpointServer
from components.shared.release.file_journal import FileJournalStore
from components.shared.release.journal import ReleaseJournal
from components.shared.release.machine import Phase
from components.shared.release.routing import Routing
from tests import documents

NAME = "tiny"
PROJECT: Any = SimpleNamespace(name=NAME, release=ReleaseSettings())
PROMOTED = documents.verdict()
REJECTED = documents.verdict(promote=False)
CANDIDATE = RegisteredVersion(name=NAME, version="2", storage_uri="file:///nowhere")
KILLED = ReleaseJournal(release=CANDIDATE, former="1", former_champion="1", phase=Phase.COMMIT)


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
    folder.mkdir()
    routing.write(folder, Routing.to("1"))
    return folder


def placed(tmp_path: Path, verdict: Verdict, name: str = NAME) -> tuple[Path, Path]:
    verdict.write(tmp_path / "verdict")
    notes = {"name": name, "version": "2", "storage_uri": (tmp_path / "model").as_uri()}
    write_json(tmp_path / "release" / "release.json", notes)
    documents.model_facts().write(tmp_path / "model")
    documents.package_sample().write(tmp_path / "model")
    return tmp_path / "release", tmp_path / "verdict"


def state(endpoint: Path, client: Any) -> tuple[str | None, str | None, ReleaseJournal | None]:
    return routing.answering(endpoint), registry.champion(client, NAME), FileJournalStore(endpoint).read()


def test_a_retry_does_not_begin_a_withdrawn_release_again_but_a_new_run_does(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    candidate = RegisteredVersion.read(release).model_copy(update={"registration": "first"})
    client.set_model_version_tag(NAME, "2", registry.COMPLETE, "true")
    MlflowChampionAlias(client).withdraw(candidate, "it is Friday")

    candidate.write(release)
    with pytest.raises(StepFailed, match=r"2 was withdrawn while this run released it \(it is Friday\); a retry"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))
    assert state(endpoint, client) == ("1", "1", None)

    # The new run comes to the release itself, for which no server runs here.
    candidate.model_copy(update={"registration": "second"}).write(release)
    with pytest.raises(StepFailed, match="no server runs on the endpoint"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint), deadline_s=0.1)


def test_what_the_gate_did_not_promote_is_never_released(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, REJECTED)

    with pytest.raises(GateRejected, match=r"auc \+0\.20, at least \+0\.15"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)
    assert not (endpoint / "releases").exists()


def test_without_a_server_nothing_is_released(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)

    with pytest.raises(StepFailed, match=r"no server runs.*perennial serve"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)


def test_a_server_that_does_not_answer_leaves_everything_as_it_was(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    here = os.getpid()
    silent = EndpointServer(pid=here, started=processes.started(here), rest_url="http://127.0.0.1:9")

    with endpoint_folder.serving(endpoint), pytest.raises(StepFailed, match="no model server answers at"):
        endpoint_folder.write_server(endpoint, silent)
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

    assert state(endpoint, client) == ("1", "1", None)
    assert not (endpoint / "releases" / "2").exists()


def test_a_release_of_another_model_is_refused(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED, name="other")

    with pytest.raises(StepFailed, match="'other'"):
        logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))


def test_two_releases_are_never_under_way_at_once(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    store = FileJournalStore(endpoint)
    with store.hold():
        store.write(KILLED)
        living = store.read()

        with pytest.raises(StepFailed, match=f"release 2 is under way in process {os.getpid()}"):
            logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint))

        assert local.recover(endpoint, registry_uri) is None
        assert state(endpoint, client) == ("1", "1", living)


def test_what_answers_already_is_not_released_again(tmp_path, endpoint, client, registry_uri):
    release, verdict = placed(tmp_path, PROMOTED)
    registry.move_alias(client, NAME, registry.CHAMPION, "2")
    routing.write(endpoint, Routing.to("2"))

    assert logic.deploy(PROJECT, release, verdict, registry_uri, str(endpoint)) == "unchanged"


@pytest.mark.parametrize(
    "champion, answering, phase, outcome, version",
    [
        ("1", "1", Phase.PLACE, "rolled back", "1"),
        ("1", "1", Phase.COMMIT, "rolled back", "1"),
        ("2", "1", Phase.COMMIT, "finished", "2"),
        ("2", "1", Phase.SHIFT, "finished", "2"),
        ("2", "2", Phase.SHIFT, "finished", "2"),
        ("2", "2", Phase.CLEAN_UP, "finished", "2"),
        ("2", "2", Phase.UNDO, "rolled back", "1"),
        ("2", "1", Phase.UNDO, "rolled back", "1"),
        ("1", "1", Phase.UNDO, "rolled back", "1"),
    ],
)
def test_a_release_that_was_killed_is_finished_once_the_alias_moved_and_rolled_back_before(
    endpoint, client, registry_uri, champion, answering, phase, outcome, version
):
    registry.move_alias(client, NAME, registry.CHAMPION, champion)
    routing.write(endpoint, Routing(shares={"1": 0, "2": 0} | {answering: 100}))
    FileJournalStore(endpoint).write(KILLED.model_copy(update={"phase": phase}))

    assert local.recover(endpoint, registry_uri) == outcome
    assert state(endpoint, client) == (version, version, None)
    assert routing.read(endpoint).shares == {version: 100}
    assert local.recover(endpoint, registry_uri) is None


def test_a_first_release_that_was_killed_leaves_nothing_active_and_no_champion(endpoint, client, registry_uri):
    registry.move_alias(client, NAME, registry.CHAMPION, None)
    routing.write(endpoint, Routing(shares={"2": 0}))
    (endpoint / "releases" / "2").mkdir(parents=True)
    FileJournalStore(endpoint).write(KILLED.model_copy(update={"former": None, "former_champion": None}))

    assert local.recover(endpoint, registry_uri) == "rolled back"
    assert state(endpoint, client) == (None, None, None)
    assert not (endpoint / "releases" / "2").exists()


@pytest.mark.parametrize("version", ["../x", "a/b", "", ".", "x" * 200])
def test_a_version_that_is_no_plain_name_never_becomes_a_path(endpoint, tmp_path, version):
    (tmp_path / "release").mkdir()

    with pytest.raises(StepFailed, match="not a plain name"):
        endpoint_folder.install(tmp_path / "release", endpoint, version)


def test_a_process_is_known_by_number_and_start():
    assert processes.alive(os.getpid(), processes.started(os.getpid()))
    assert not processes.alive(os.getpid(), "0")
    assert not processes.alive(os.getpid(), None)
    assert processes.started(2**22 + 1) is None
