"""A new release loads and warms inside the running server and takes over without losing a request."""

import functools
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from components.shared import inference
from components.shared.release import endpoint_folder, routing
from components.shared.release.endpoint_folder import EndpointServer
from components.shared.release.routing import Routing
from pipelines.targets.local import endpoint as local
from tests import documents
from tests.serving import tiny
from tests.serving.load import Load

PYTHON = Path(sys.executable)
ROOT = Path(__file__).resolve().parents[2]
ROW = tiny.SAMPLE[0]


def until(reached: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def shares(endpoint: Path, **versions: int) -> None:
    """Write the shares of the versions, as v1=100."""
    routing.write(endpoint, Routing(shares={name.removeprefix("v"): share for name, share in versions.items()}))


def place(root: Path, endpoint: Path, version: str) -> float:
    """Put a release into the endpoint's folder; return the score by which its answers are known."""
    bias = 0.1 * int(version)
    model = tiny.package(root / f"model{version}", bias=bias)
    endpoint_folder.install(tiny.release(root / f"release{version}", model, version), endpoint, version)
    return tiny.score(ROW, bias)


def ready(server: EndpointServer, version: str) -> int:
    return inference.call(server.rest_url, f"/v2/models/{tiny.NAME}/versions/{version}/ready")[0]


def answering(server: EndpointServer) -> str:
    return inference.predict(server.rest_url, tiny.NAME, [ROW])["model_version"]


def swap_inside(running: local.Running, version: str, former: str) -> local.Running:
    """Load beside, then let it take over: what the deployment step does."""
    routing.write(running.endpoint, Routing(shares={former: 100, version: 0}))
    until(lambda: ready(running.server, version) == 200)
    routing.write(running.endpoint, Routing(shares={former: 0, version: 100}))
    until(lambda: answering(running.server) == version)
    routing.write(running.endpoint, Routing.to(version))
    return running


def swap_by_restart(running: local.Running, version: str, former: str) -> local.Running:
    """Stop the server and start it on the new release, at the same port."""
    routing.write(running.endpoint, Routing.to(version))
    running.stop()
    port = int(running.server.rest_url.rpartition(":")[2])
    return local.start(running.endpoint, python=PYTHON, source=ROOT, port=port, grpc_port=None)


def more_than(answers: Sequence[object], count: int) -> bool:
    return len(answers) > count


def under_load(root: Path, swap: Callable[..., local.Running], times: int) -> tuple[Load, dict[str, float]]:
    """Swap releases one after another while requests keep coming; return what the clients saw."""
    endpoint = tiny.released(root)
    scores = {"1": tiny.score(ROW)}
    running = local.start(endpoint, python=PYTHON, source=ROOT, grpc_port=None)
    try:
        with Load(running.server.rest_url, tiny.NAME, ROW) as load:
            until(lambda: len(load.answers) > 50)
            for number in range(2, times + 2):
                scores[str(number)] = place(root, endpoint, str(number))
                running = swap(running, str(number), str(number - 1))
                seen = len(load.answers)
                until(functools.partial(more_than, load.answers, seen + 20))
    finally:
        running.stop()
    return load, scores


def test_ten_releases_under_open_loop_load_lose_no_request(tmp_path: Path):
    load, scores = under_load(tmp_path, swap_inside, times=10)

    assert load.failures == []
    assert len(load.answers) == load.sent
    assert {version for version, _ in load.answers} == set(scores)
    assert all(score == pytest.approx(scores[version], abs=1e-6) for version, score in load.answers)


def test_a_swap_by_restart_loses_requests_under_the_same_load(tmp_path: Path):
    load, _ = under_load(tmp_path, swap_by_restart, times=1)

    assert load.failures


@pytest.fixture
def running(tmp_path: Path):
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, grpc_port=None) as server:
        yield server


def test_releases_come_and_go_as_the_folder_says(tmp_path: Path, running: local.Running):
    endpoint, server = running.endpoint, running.server

    # A candidate answers under an address of its own while the public name stays with the former release.
    expected = place(tmp_path, endpoint, "2")
    shares(endpoint, v1=100, v2=0)
    until(lambda: ready(server, "2") == 200)
    aside = inference.predict(server.rest_url, tiny.NAME, [ROW], version="2")
    assert aside["predictions"][0]["score"] == pytest.approx(expected, abs=1e-6)
    assert answering(server) == "1"

    # Rolled back, it is gone.
    shares(endpoint, v1=100)
    until(lambda: ready(server, "2") == 404)
    assert answering(server) == "1"

    # A package that differs from its manifest is never loaded, and the sentence says which file.
    place(tmp_path, endpoint, "3")
    (tmp_path / "model3" / "model.onnx").write_bytes(b"altered")
    shares(endpoint, v1=100, v3=0)
    until(lambda: ready(server, "3") == 503)
    assert "model.onnx" in str(inference.call(server.rest_url, f"/v2/models/{tiny.NAME}/versions/3/ready")[1])

    # Even with a manifest that fits the altered file: the release knows the manifest it was made for.
    shares(endpoint, v1=100)
    until(lambda: ready(server, "3") == 404)
    documents.seal(tmp_path / "model3")
    shares(endpoint, v1=100, v3=0)
    until(lambda: ready(server, "3") == 503)
    assert answering(server) == "1"

    # A share for what can't be loaded, or a routing that is broken, leaves the former release answering.
    shares(endpoint, v1=50, v3=50)
    time.sleep(0.3)
    assert {answering(server) for _ in range(20)} == {"1"}
    shares(endpoint, v3=100)
    time.sleep(0.3)
    assert answering(server) == "1"
    (endpoint / "routing.json").write_text("{")
    time.sleep(0.3)
    assert answering(server) == "1"
    shares(endpoint, v2=100)
    until(lambda: answering(server) == "2")

    # Rolling back a first release leaves a live server that says so.
    shares(endpoint)
    until(lambda: inference.call(server.rest_url, "/v2/health/ready")[0] == 503)
    status, document = inference.call(server.rest_url, f"/v1/models/{tiny.NAME}:predict", body=b"{}")
    assert (status, "nothing has been released" in document["error"]) == (404, True)
    assert inference.call(server.rest_url, "/v2/health/live")[0] == 200


def test_a_package_is_served_without_an_endpoint_as_in_a_pod(tmp_path: Path):
    import subprocess

    model = tiny.package(tmp_path / "model")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        str(PYTHON),
        "-m",
        "serving",
        "--model-dir",
        str(model),
        "--name",
        "pod",
        "--port",
        str(port),
        "--version",
        "7",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: listening(url), 60)
        answer = inference.predict(url, "pod", [ROW])
    finally:
        process.terminate()
        code = process.wait(20)

    assert (answer["model_version"], answer["predictions"][0]["score"]) == ("7", pytest.approx(tiny.score(ROW)))
    assert code == 0


def listening(url: str) -> bool:
    from components.shared.errors import StepFailed

    try:
        return inference.call(url, "/v2/models/pod/ready")[0] == 200
    except StepFailed:
        return False


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def test_the_end_waits_for_a_request_under_way(tmp_path: Path):
    running = local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, grpc_port=None)
    port = int(running.server.rest_url.rpartition(":")[2])
    body = json.dumps({"instances": [ROW]}).encode()
    head = f"POST /v1/models/{tiny.NAME}:predict HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            answers = connection.makefile("rb")
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            assert answers.readline().split()[1] == b"100"
            os.kill(running.process.pid, signal.SIGTERM)
            until(lambda: refuses(port))
            connection.sendall(body)
            assert answers.readline() == b"\r\n"
            assert answers.readline().split()[1] == b"200"
    finally:
        running.stop()

    assert running.process.poll() == 0
    assert not (running.endpoint / "server.json").exists()
