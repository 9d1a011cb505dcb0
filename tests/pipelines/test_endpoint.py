"""The command owns the endpoint: one server per folder, no orphan, and a release that is whole or never was."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.deployment import logic
from components.shared import inference, processes, registry
from components.shared.documents.package_sample import PackageSample
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import InputError, PerennialError, StepFailed
from components.shared.files import sha256, write_json
from components.shared.project import ReleaseSettings
from components.shared.release import endpoint_folder, rollback, routing
from components.shared.release import local as local_release
from components.shared.release.endpoint_folder import EndpointServer
from components.shared.release.file_journal import FileJournalStore
from pipelines.images import environments
from pipelines.targets.local import endpoint as local
from tests import documents

ROOT = environments.ROOT
NAME = "tiny"
ROW = {"usage": 1.5, "active": True, "plan": "basic"}


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the interpreter that serving's own tests run in: it has onnx beside the lock."""
    return environments.virtualenv(ROOT / "tests" / "requirements.txt", environments.lock_of("serving"))


@pytest.fixture(scope="module")
def model(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "model"
    subprocess.run([python, "-m", "tests.serving.tiny", folder], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def running(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Running]:
    with local.start(tmp_path_factory.mktemp("up") / "endpoint", python=python, source=ROOT) as server:
        yield server
    assert not processes.alive(server.server.pid, server.server.started)
    assert not (server.endpoint / "server.json").exists()


@pytest.fixture(scope="module")
def registry_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry')}/mlflow.db"
    registry.open(uri).create_registered_model(NAME)
    return uri


@pytest.fixture
def champion(running: local.Running, registry_uri: str, model: Path, tmp_path: Path) -> str:
    """Release a version that answers right; each test starts from one."""
    version = placed(tmp_path / "champion", model, registry_uri)
    assert deploy(tmp_path / "champion", registry_uri, running.endpoint) == "released"
    assert state(running, registry_uri) == (version, version, version, None)
    return version


def placed(folder: Path, model: Path, registry_uri: str) -> str:
    """Register a version of the package and write its release and verdict."""
    version = str(registry.open(registry_uri).create_model_version(NAME, model.as_uri()).version)
    predictor = {"model": {"modelFormat": {"name": "perennial"}, "storageUri": model.as_uri()}}
    service = {"kind": "InferenceService", "metadata": {"name": NAME}, "spec": {"predictor": predictor}}
    write_json(folder / "release" / "inferenceservice.yaml", service)
    manifest = sha256(model / "manifest.json")
    RegisteredVersion(name=NAME, version=version, storage_uri=model.as_uri(), manifest_sha256=manifest).write(
        folder / "release"
    )
    documents.verdict().write(folder / "verdict.json")
    return version


def deploy(folder: Path, registry_uri: str, endpoint: Path) -> str:
    project: Any = SimpleNamespace(name=NAME, release=ReleaseSettings())
    return logic.deploy(project, folder / "release", folder / "verdict.json", registry_uri, str(endpoint))


def answering(running: local.Running) -> str:
    return str(local.ask(running.endpoint, [ROW])["model_version"])


def state(running: local.Running, registry_uri: str) -> tuple[Any, ...]:
    """Return who answers, who is said to answer, who is champion, and what is under way."""
    champion = registry.champion(registry.open(registry_uri), NAME)
    return answering(running), routing.answering(running.endpoint), champion, FileJournalStore(running.endpoint).read()


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_nothing_answers_before_the_first_release(tmp_path: Path):
    with pytest.raises(InputError, match="Nothing has been released yet"):
        local.ask(tmp_path, [ROW])


def test_a_release_waits_for_a_server_that_is_starting(python, registry_uri, model, tmp_path):
    version = placed(tmp_path, model, registry_uri)
    with ThreadPoolExecutor(1) as starter:
        starting = starter.submit(local.start, tmp_path / "endpoint", python=python, source=ROOT, grpc_port=None)
        try:
            outcome = deploy(tmp_path, registry_uri, tmp_path / "endpoint")
        finally:
            starting.result().stop()

    assert outcome == "released"
    assert routing.answering(tmp_path / "endpoint") == version


def test_the_same_version_is_not_released_twice(running, champion, registry_uri, tmp_path):
    assert deploy(tmp_path / "champion", registry_uri, running.endpoint) == "unchanged"


def test_the_endpoint_is_asked_for_intervals(running, champion):
    answer = local.ask(running.endpoint, [ROW], interval=0.8)

    assert answer["predictions"][0]["set"]
    with pytest.raises(InputError, match="'interval' is 2; expected a number above 0 and below 1"):
        local.ask(running.endpoint, [ROW], interval=2)


def test_a_row_that_is_refused_is_a_sentence_of_bad_input(running, champion):
    with pytest.raises(InputError, match="'usage', row 0: expected a number, got text 'x'"):
        local.ask(running.endpoint, [ROW | {"usage": "x"}])


def test_a_release_that_answers_its_sample_wrong_leaves_the_champion_answering(
    running, champion, registry_uri, model, tmp_path
):
    wrong = shutil.copytree(model, tmp_path / "wrong")
    scores = [score + 1e-3 for score in PackageSample.read(wrong).scores]
    documents.change(PackageSample, wrong, scores=scores)
    documents.seal(wrong)
    version = placed(tmp_path / "next", wrong, registry_uri)

    with pytest.raises(StepFailed, match=rf"release {version} answers row 0 of its sample with .* training computed"):
        deploy(tmp_path / "next", registry_uri, running.endpoint)

    assert state(running, registry_uri) == (champion, champion, champion, None)
    assert not (running.endpoint / "releases" / version).exists()


def test_a_package_altered_after_registration_is_not_released(running, champion, registry_uri, model, tmp_path):
    altered = shutil.copytree(model, tmp_path / "altered")
    placed(tmp_path / "next", altered, registry_uri)
    with (altered / "model.onnx").open("ab") as stream:
        stream.write(b"\0")

    with pytest.raises(StepFailed, match=r"holds altered files \['model.onnx'\]"):
        deploy(tmp_path / "next", registry_uri, running.endpoint)

    assert state(running, registry_uri) == (champion, champion, champion, None)


KILLED_AT = {
    "before anything was asked": ("inference", "call", "before", "former"),
    "between manifest and alias": ("registry", "move_alias", "before", "former"),
    "after the alias": ("registry", "move_alias", "after", "next"),
    "after the switch": ("release.routing", "write", "switch", "next"),
}


@pytest.mark.parametrize("boundary", KILLED_AT)
def test_a_deployment_that_is_killed_leaves_one_truth_after_recovery(
    running, champion, registry_uri, model, tmp_path, boundary
):
    module, function, when, expected = KILLED_AT[boundary]
    version = placed(tmp_path / "next", model, registry_uri)
    script = f"""
        import os, signal
        from pathlib import Path
        import components.shared.{module} as module
        from tests.pipelines.test_endpoint import deploy

        real = module.{function}
        def killed(*given, **named):
            if {when == "switch"} and given[1].shares.get({version!r}) != 100:
                return real(*given, **named)
            if {when != "before"}:
                real(*given, **named)
            os.kill(os.getpid(), signal.SIGKILL)
        module.{function} = killed
        deploy(Path({str(tmp_path / "next")!r}), {registry_uri!r}, Path({str(running.endpoint)!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL

    local_release.recover(running.endpoint, registry_uri)

    survivor = champion if expected == "former" else version
    until(lambda: answering(running) == survivor)
    assert state(running, registry_uri) == (survivor, survivor, survivor, None)


def test_a_rollback_returns_to_the_former_version_and_a_second_one_comes_back(
    running, champion, registry_uri, model, tmp_path
):
    client = registry.open(registry_uri)
    version = placed(tmp_path / "next", model, registry_uri)
    assert deploy(tmp_path / "next", registry_uri, running.endpoint) == "released"

    for expected in (champion, version):
        release = rollback.former_release(running.endpoint)
        assert rollback.roll_back(running.endpoint, client, release) == "released"
        assert state(running, registry_uri) == (expected, expected, expected, None)


def test_a_former_version_whose_package_was_altered_is_not_released_and_stays_available(
    running, champion, registry_uri, model, tmp_path
):
    altered = shutil.copytree(model, tmp_path / "altered")
    former = placed(tmp_path / "former", altered, registry_uri)
    assert deploy(tmp_path / "former", registry_uri, running.endpoint) == "released"
    version = placed(tmp_path / "next", model, registry_uri)
    assert deploy(tmp_path / "next", registry_uri, running.endpoint) == "released"
    until(lambda: inference.call(running.server.rest_url, f"/v2/models/{NAME}/versions/{former}/ready")[0] == 404)
    with (altered / "model.onnx").open("ab") as stream:
        stream.write(b"\0")

    with pytest.raises(StepFailed, match="altered files"):
        rollback.roll_back(running.endpoint, registry.open(registry_uri), rollback.former_release(running.endpoint))

    assert state(running, registry_uri) == (version, version, version, None)
    assert rollback.former_release(running.endpoint).version == former


def test_one_folder_has_one_server(running, python):
    with pytest.raises(InputError, match=f"served already by process {running.process.pid}"):
        local.start(running.endpoint, python=python, source=ROOT)

    # Also when the other one has not said yet where it listens.
    said = (running.endpoint / "server.json").read_bytes()
    (running.endpoint / "server.json").unlink()
    try:
        with pytest.raises(InputError, match="served already"):
            local.start(running.endpoint, python=python, source=ROOT)
    finally:
        (running.endpoint / "server.json").write_bytes(said)
    assert local.find(running.endpoint) == running.server


def test_a_copied_folder_has_no_server_although_it_holds_the_file_of_one(running, champion, python, tmp_path):
    copied = shutil.copytree(running.endpoint, tmp_path / "copied")
    assert (copied / "server.json").exists()

    assert endpoint_folder.server(copied) is None
    assert local.find(copied) is None
    with local.start(copied, python=python, source=ROOT, grpc_port=None) as own:
        assert own.server.rest_url != running.server.rest_url
        assert local.ask(copied, [ROW])["model_version"] == champion
    assert local.find(running.endpoint) == running.server


def test_a_server_whose_folder_is_moved_follows_it(running, champion, python, tmp_path, registry_uri, model):
    copied = shutil.copytree(running.endpoint, tmp_path / "before")
    with local.start(copied, python=python, source=ROOT, grpc_port=None) as own:
        copied.rename(tmp_path / "after")
        version = placed(tmp_path / "next", model, registry_uri)

        assert deploy(tmp_path / "next", registry_uri, tmp_path / "after") == "released"

        assert local.find(tmp_path / "after") == own.server
        assert local.ask(tmp_path / "after", [ROW])["model_version"] == version


def test_those_who_look_for_a_server_never_keep_one_from_starting(python, tmp_path):
    (tmp_path / "endpoint").mkdir()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            endpoint_folder.server(tmp_path / "endpoint")
            endpoint_folder.starting(tmp_path / "endpoint")

    with ThreadPoolExecutor(2) as looking:
        lookers = [looking.submit(look) for _ in range(2)]
        try:
            for _ in range(200):
                with endpoint_folder.serving(tmp_path / "endpoint"):
                    assert endpoint_folder.starting(tmp_path / "endpoint")
        finally:
            ended.set()
        for looker in lookers:
            looker.result()


@pytest.mark.parametrize("kind, said", [("port", "can't"), ("grpc_port", "gRPC can't")])
def test_a_taken_port_is_a_sentence(python, tmp_path, kind, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StepFailed, match=f"^{said} listen on 127.0.0.1:{port}.*choose another"):
            local.start(tmp_path, python=python, source=ROOT, **{kind: port})

    assert local.find(tmp_path) is None


def test_a_server_that_can_not_start_says_why(tmp_path):
    with pytest.raises(StepFailed, match=r"ended with 1 before it answered.*No module named"):
        local.start(tmp_path, python=Path(sys.executable), source=tmp_path)


def test_a_server_that_is_too_slow_is_ended(python, tmp_path):
    with pytest.raises(StepFailed, match="did not answer within 0 s"):
        local.start(tmp_path, python=python, source=ROOT, deadline_s=0.2)

    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(p)]


def test_what_a_dead_server_left_behind_is_not_found(tmp_path):
    here = os.getpid()
    endpoint_folder.write_server(tmp_path, EndpointServer(pid=here, started="0", rest_url="http://127.0.0.1:9"))
    assert local.find(tmp_path) is None

    # Its process lives, but nothing answers there.
    alive = EndpointServer(pid=here, started=processes.started(here), rest_url="http://127.0.0.1:9")
    endpoint_folder.write_server(tmp_path, alive)
    assert local.find(tmp_path) is None


def test_the_server_ends_with_the_command_that_started_it_even_by_sigkill(python, tmp_path):
    script = f"""
        import time
        from pathlib import Path
        from pipelines.targets.local import endpoint
        python, source = Path({str(python)!r}), Path({str(ROOT)!r})
        endpoint.start(Path({str(tmp_path)!r}), python=python, source=source, grpc_port=None)
        time.sleep(600)
    """
    owner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=ROOT)
    try:
        until(lambda: local.find(tmp_path) is not None, 60)
        server = local.find(tmp_path)
    finally:
        owner.kill()
        owner.wait()

    until(lambda: not processes.alive(server.pid, server.started))


def test_a_server_of_another_process_can_be_stopped(python, tmp_path):
    running = local.start(tmp_path, python=python, source=ROOT, grpc_port=None)
    try:
        local.stop(running.server)

        assert running.process.wait(1) == 0
        assert local.find(tmp_path) is None
    finally:
        running.stop()
    with contextlib.suppress(PerennialError):
        inference.call(running.server.rest_url, "/")
        raise AssertionError("something still answers")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
