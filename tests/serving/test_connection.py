"""What arrives before a route is looked for has a limit in bytes, in number and in time; and clients as they are."""

import contextlib
import json
import logging
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import grpc
import prometheus_client
import pytest

from components.shared import polling
from components.shared.errors import StepFailed
from pipelines.targets.local import endpoint as local
from serving import metrics_port
from serving.connection import ConnectionLimits, affordable_connections
from serving.exchange import Exchange
from serving.limits import BytesInFlight
from serving.release import ServedRelease
from serving.seldom import Seldom
from serving.served import Served
from tests.serving import in_thread, tiny
from tests.serving.test_rollout import ROOT

LIMITS = ConnectionLimits(head_bytes=4096, headers=20, head_s=0.3, idle_s=1.0, connections=8)
PREDICT = f"/v1/models/{tiny.NAME}:predict"
BODY = json.dumps({"instances": [tiny.SAMPLE[0]]}).encode()


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    served = Served()
    served.activate(ServedRelease(tiny.package(tmp_path_factory.mktemp("connection") / "model"), tiny.NAME, "1"))
    return Exchange(served)


@pytest.fixture(scope="module")
def port(exchange: Exchange) -> Iterator[int]:
    with in_thread.rest(exchange, LIMITS) as chosen:
        yield chosen


def sent(port: int, content: bytes) -> bytes:
    """Send bytes, and return all that comes until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        # The server may stop reading in the middle.
        with contextlib.suppress(OSError):
            connection.sendall(content)
        return everything(connection)


def everything(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def refusals(reason: str) -> float:
    name, labels = "perennial_request_errors_total", {"model_name": tiny.NAME, "reason": reason}
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


BAD_HEADS = {
    "a long header": (b"Host: x\r\nX: " + b"y" * 5000, 431, "longer than the limit of 4 KiB", "head"),
    "a header without an end": (b"Host: x\r\nX: " + b"y" * 5_000_000, 431, "longer than the limit", "head"),
    "many headers": (b"Host: x\r\n" + b"X: y\r\n" * 20 + b"X: y", 431, "22 headers; at most 20", "head"),
    "two hosts": (b"Host: x\r\nHost: y", 400, "2 Host headers; expected one", "http"),
    "no host": (b"Accept: x", 400, "0 Host headers; expected one", "http"),
    "two lengths": (b"Host: x\r\nContent-Length: 1\r\nContent-Length: 2", 400, "not HTTP/1.1", "http"),
    "a length and chunks": (b"Host: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400, "not", "http"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_a_head_beyond_a_limit_is_refused_and_counted(port: int, name: str):
    head, status, sentence, reason = BAD_HEADS[name]
    before = refusals(reason)

    answer = sent(port, b"GET /v2 HTTP/1.1\r\n" + head + b"\r\n\r\n")

    assert int(answer.split()[1]) == status
    assert sentence in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert b"connection: close" in answer
    assert refusals(reason) == before + 1


def test_a_target_counts_as_part_of_the_head(port: int):
    assert sent(port, b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 431")


def test_trailers_have_the_limit_of_a_head(port: int):
    chunked = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    began = time.monotonic()

    answer = sent(port, chunked + b"%x\r\n%s\r\n0\r\nX: " % (len(BODY), BODY) + b"y" * 5_000_000)

    assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("began", [b"", b"GET /v2 HTTP/1.1\r\nHo", b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET /"])
def test_a_head_that_does_not_arrive_is_not_waited_for(port: int, began: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(began)
        answer = everything(connection)

    assert (b"408" in answer) == bool(began)


def test_a_byte_now_and_then_does_not_prolong_the_wait(port: int):
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        with contextlib.suppress(OSError):
            for byte in b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)
        answer = everything(connection)

    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - start < 3


def test_an_idle_connection_is_closed_and_a_busy_one_is_not(port: int):
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    for _ in range(4):
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().read() == b'{"live":true}'
        time.sleep(0.4)
    start = time.monotonic()

    assert connection.sock.recv(1) == b""
    assert time.monotonic() - start < 3


def test_a_client_that_is_answered_early_may_send_the_rest_but_not_forever(port: int):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**9}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(12) == b"HTTP/1.1 413"
        start = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - start < 4:
                connection.sendall(b"x" * 1000)
                time.sleep(0.02)

    assert time.monotonic() - start < 3


@pytest.mark.parametrize("rest", [b"\r\n", b"\n\r\n"])
def test_bytes_that_begin_no_request_do_not_keep_a_connection(port: int, rest: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        start = time.monotonic()
        connection.sendall(rest)
        everything(connection)

    assert time.monotonic() - start < 3


def test_a_body_that_follows_its_answer_does_not_keep_a_connection(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 404"
        start = time.monotonic()
        connection.sendall(b"0123456789")
        everything(connection)

    assert time.monotonic() - start < 3


def test_clients_that_read_no_answers_are_let_go(port: int):
    asked = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.connections):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", port))
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
        full = sent(port, asked)

        # They hold their connections open, and the server has room again.
        assert full.startswith(b"HTTP/1.1 503")
        assert polling.within(lambda: sent(port, asked).startswith(b"HTTP/1.1 200"), 10, 0.1)


def test_withheld_bodies_have_a_budget_over_all_connections(exchange: Exchange):
    patient = Exchange(exchange.served)
    patient.in_flight = BytesInFlight(budget_bytes=128_000)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    withheld = head % (PREDICT.encode(), 60_001) + b" " * 60_000
    with in_thread.rest(patient, LIMITS) as port, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", port))).sendall(withheld)
        assert polling.within(lambda: patient.in_flight.held == 120_000, 5, 0.01)
        refused = sent(port, withheld)
        small = sent(port, head % (PREDICT.encode(), len(BODY)) + BODY)
        stack.close()
        assert polling.within(lambda: patient.in_flight.held == 0, 5, 0.01)
        later = sent(port, head % (PREDICT.encode(), 60_000) + BODY.ljust(60_000))

    assert refused.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in refused.lower()
    assert small.startswith(b"HTTP/1.1 200") and later.startswith(b"HTTP/1.1 200")


def test_a_full_server_says_so_and_has_room_again_later(port: int):
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(LIMITS.connections):
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            stack.callback(connection.close)
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
            held.append(connection)
        refused = sent(port, b"")
        held[0].request("GET", "/v2/health/live")
        assert held[0].getresponse().status == 200
    answer = b""
    end = time.monotonic() + 5
    while not answer.startswith(b"HTTP/1.1 200") and time.monotonic() < end:
        answer = sent(port, b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert refused.startswith(b"HTTP/1.1 503") and b"retry-after: 1" in refused
    assert answer.startswith(b"HTTP/1.1 200")


def test_one_address_may_be_held_to_a_number_of_connections(exchange: Exchange):
    limits = ConnectionLimits(per_client=2)
    with in_thread.rest(exchange, limits) as port, contextlib.ExitStack() as stack:
        for _ in range(2):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
        refused = sent(port, b"")

    assert b"this address has 2 connections already" in refused


def test_the_connections_leave_descriptors_for_the_rest():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    code = "from serving.connection import affordable_connections; print(affordable_connections())"
    asked = subprocess.run(
        ["bash", "-c", f"ulimit -n 300; exec {sys.executable} -c '{code}'"], capture_output=True, text=True, check=True
    )

    assert int(asked.stdout) == 300 - 128 - 300 // 4
    assert affordable_connections() <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 128
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


OFFER = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n"
LAST = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("protocol", ["h2c", "websocket"])
@pytest.mark.parametrize("pieces", [1, 7, 10_000])
@pytest.mark.parametrize(
    "request_of",
    [
        lambda offer: (
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n{offer}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        ),
        lambda offer: (
            f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\n{offer}Transfer-Encoding: chunked\r\n\r\n"
            f"{len(BODY):x}\r\n{BODY.decode()}\r\n0\r\n\r\n"
        ).encode(),
        lambda offer: f"GET /v2 HTTP/1.1\r\nHost: x\r\n{offer}\r\n".encode(),
    ],
    ids=["length", "chunked", "no body"],
)
def test_an_offer_to_upgrade_is_ignored_and_the_connection_goes_on(port: int, request_of, pieces: int, protocol: str):
    content = request_of(OFFER.format(protocol)) * 2 + LAST
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(content), size := -(-len(content) // pieces)):
            connection.sendall(content[start : start + size])
        answers = everything(connection)

    assert answers.count(b"HTTP/1.1 200") == 3
    assert answers.endswith(b'{"live":true}')


def test_the_metrics_may_have_a_port_of_their_own(exchange: Exchange):
    with in_thread.rest(exchange, LIMITS, metrics_port=1) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/metrics")
        elsewhere = connection.getresponse()
        assert (elsewhere.status, b"port of their own" in elsewhere.read()) == (404, True)


def test_the_metrics_are_told_on_that_port_and_not_elsewhere(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        metrics_port = listener.getsockname()[1]
    options = ["--metrics-port", str(metrics_port)]
    with local.start(tiny.released(tmp_path), python=Path(sys.executable), source=ROOT, options=options) as running:
        answers = {}
        for netloc in (running.server.rest_url.removeprefix("http://"), f"127.0.0.1:{metrics_port}"):
            connection = HTTPConnection(netloc, timeout=5)
            connection.request("GET", "/metrics")
            answers[netloc] = connection.getresponse().read()

    elsewhere, here = answers.values()
    assert b"perennial_release_active" in here and b"perennial_release_active" not in elsewhere


def test_the_server_tells_nobody_which_versions_it_is_made_of(running: local.Running):
    url = running.server.rest_url
    for path in ("/", "/v2", "/v2/health/live", "/metrics", "/openapi.json", "/nothing"):
        connection = HTTPConnection(url.removeprefix("http://"), timeout=5)
        connection.request("GET", path, headers={"Host": "elsewhere.example"})
        response = connection.getresponse()
        text = (str(response.getheaders()) + response.read().decode()).lower()
        for version in ("uvicorn", "python_info", "elsewhere", f"{sys.version_info[0]}.{sys.version_info[1]}."):
            assert version not in text, (path, version)
        assert response.status in (200, 404)


def test_the_metrics_on_their_own_port_tell_nobody_either():
    port = metrics_port.start("127.0.0.1", 0)
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", "/metrics")
    response = connection.getresponse()

    assert response.getheader("Server") == "perennial"
    assert b"perennial_requests_total" in response.read()
    with pytest.raises(StepFailed, match="choose another metrics port"):
        metrics_port.start("127.0.0.1", port)


def test_bytes_that_are_no_message_are_an_invalid_argument_and_one_line_a_second(running: local.Running):
    log = running.endpoint / local.LOG
    before = len(log.read_bytes())
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        for method in ("ModelInfer", "ModelReady", "ModelMetadata") * 10:
            call = channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"\xff\xff\xff", timeout=10)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert refused.value.details() == f"the request could not be parsed as a {method} message."
    written = log.read_bytes()[before:].decode()

    assert "Traceback" not in written
    assert 1 <= written.count("could not be parsed as a") <= 5


def test_lines_that_clients_cause_are_rare_and_say_how_many_were_left_out(caplog: pytest.LogCaptureFixture):
    times = iter([0.0, 0.4, 0.9, 1.1, 5.0])
    seldom = Seldom(logging.getLogger("test"), timer_s=lambda: next(times))
    for _ in range(5):
        seldom.warning("again")

    assert caplog.messages == ["again", "again (and 2 more since the last such line)", "again"]


def test_curl_offers_http_2_and_is_answered(running: local.Running, tmp_path: Path):
    if not (curl := shutil.which("curl")):
        pytest.skip("curl is not installed")
    asked = subprocess.run(
        [curl, "--http2", "-sS", "-H", "Content-Type: application/json", "-d", BODY, running.server.rest_url + PREDICT],
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )

    assert len(json.loads(asked.stdout)["predictions"]) == 1
