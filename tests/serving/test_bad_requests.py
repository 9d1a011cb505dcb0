"""Whatever is sent, the server answers with the right 4xx and a sentence that names the field, and lives on."""

import asyncio
import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared import inference
from pipelines.targets.local import endpoint as local
from serving.limits import BodyBytes, BytesInFlight
from serving.refusal import RequestRefused
from serving.rest import read_body
from tests.serving import tiny

V1 = f"/v1/models/{tiny.NAME}:predict"
V2 = f"/v2/models/{tiny.NAME}/infer"
GOOD = {"usage": 1.0, "active": True, "plan": "basic"}
LIMIT = 256 * 1024


@pytest.fixture
def connection(running: local.Running) -> Iterator[HTTPConnection]:
    made = HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=15)
    yield made
    # The same connection, or a new one where the server had to close it, still gets a right answer.
    assert post(made, V1, one())[0] == 200
    made.close()


def post(connection: HTTPConnection, path: str, body: Any, **headers: str) -> tuple[int, str]:
    named = {"Content-Type": "application/json"} | {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request("POST", path, body, named)
    response = connection.getresponse()
    text = response.read().decode()
    return response.status, json.loads(text).get("error", text)


def one(**changed: Any) -> bytes:
    return json.dumps({"instances": [GOOD | changed]}).encode()


def without(name: str) -> bytes:
    return json.dumps({"instances": [GOOD, {key: value for key, value in GOOD.items() if key != name}]}).encode()


def tensors(**changed: dict[str, Any]) -> bytes:
    inputs = {
        "usage": {"name": "usage", "datatype": "FP32", "shape": [2], "data": [1, None]},
        "active": {"name": "active", "datatype": "BOOL", "shape": [2], "data": [True, False]},
        "plan": {"name": "plan", "datatype": "BYTES", "shape": [2], "data": ["basic", None]},
    }
    return json.dumps({"inputs": [tensor | changed.get(name, {}) for name, tensor in inputs.items()]}).encode()


BAD_V1 = {
    "nothing": (b"", 400, "not JSON"),
    "half a document": (b'{"instances": [', 400, "not JSON"),
    "a NaN": (b'{"instances": [{"usage": NaN, "active": true, "plan": null}]}', 400, "not JSON"),
    "an infinity": (b'{"instances": [{"usage": -Infinity, "active": true, "plan": null}]}', 400, "not JSON"),
    "a number beyond doubles": (b'{"instances": [{"usage": 1e999, "active": true, "plan": null}]}', 400, "infinity"),
    "a number beyond floats": (one(usage=1e39), 400, "'usage', row 0: number 1e+39"),
    "ten thousand digits": (b'{"instances": [{"usage": ' + b"9" * 10_000 + b"}]}", 400, "infinity"),
    "an integer beyond 64 bits": (one(usage=10**60), 400, "'usage', row 0"),
    "no UTF-8": (b'{"instances": [{"usage": 1, "active": true, "plan": "\xff"}]}', 400, "UTF-8"),
    "UTF-16": (json.dumps({"instances": [GOOD]}).encode("utf-16"), 400, "not"),
    "half a surrogate": (b'{"instances": [{"usage": 1, "active": true, "plan": "\\ud800"}]}', 400, "surrogate"),
    "deep nesting": (b"[" * 100_000, 400, "not JSON"),
    "a deep value": (b'{"instances": [{"usage": ' + b"[" * 900 + b"]" * 900 + b"}]}", 400, "absent"),
    "a key said twice": (
        b'{"instances": [{"usage": 1, "usage": 2, "active": true, "plan": ":"}]}',
        400,
        "'usage' twice",
    ),
    "a list": (b"[]", 400, "not a JSON object"),
    "another document": (b'{"rows": []}', 400, "no 'instances'"),
    "instances beside inputs": (b'{"instances": [], "inputs": []}', 400, "'inputs'"),
    "instances that are no list": (b'{"instances": {}}', 400, "'instances' is not a list"),
    "a row that is no object": (b'{"instances": [3]}', 400, "row 0, is not an object"),
    "no rows": (b'{"instances": []}', 400, "no rows"),
    "too many rows": (json.dumps({"instances": [GOOD] * 301}).encode(), 413, "301 rows; at most 300"),
    "an absent feature": (without("plan"), 400, "row 1: feature 'plan' is absent"),
    "an unknown feature": (one(colour="red"), 400, "feature 'colour' is unknown"),
    "an endless name": (one(**{"x" * 5000: 1}), 400, "…' is unknown"),
    "a text for a number": (one(usage="12"), 400, "'usage', row 0: expected a number, got text '12'"),
    "a switch for a number": (one(usage=True), 400, "'usage', row 0: expected a number, got true"),
    "a number for a switch": (one(active=1), 400, "'active', row 0: expected true or false, got number 1"),
    "a number for a text": (one(plan=7), 400, "'plan', row 0: expected text, got number 7"),
    "a list for a text": (one(plan=["basic"]), 400, "'plan', row 0: expected text, got a list"),
    "an object for a number": (one(usage={"a": 1}), 400, "'usage', row 0: expected a number, got an object"),
    "a gap where none is allowed": (one(active=None), 400, "'active', row 0: a value is required"),
}

BAD_V2 = {
    "no inputs": (b"{}", 400, "'inputs'"),
    "an input without a name": (b'{"inputs": [{}]}', 400, "'name'"),
    "a feature given twice": (tensors(plan={"name": "usage"}), 400, "'usage' is given twice"),
    "an absent and an unknown feature": (tensors(plan={"name": "colour"}), 400, "'plan' is absent"),
    "another datatype": (tensors(usage={"datatype": "BYTES"}), 400, "'usage': datatype 'BYTES'"),
    "no datatype": (tensors(usage={"datatype": None}), 400, "'usage': datatype"),
    "a shape that lies": (tensors(usage={"shape": [3]}), 400, "'active' has 2 rows and 'usage' has 3"),
    "data that lies": (tensors(usage={"data": [1]}), 400, "'usage': 1 values for a shape of 2"),
    "a matrix": (tensors(usage={"shape": [1, 2]}), 400, "'usage': shape [1, 2]"),
    "a negative shape": (tensors(usage={"shape": [-1]}), 400, "'usage': shape [-1]"),
    "a shape of text": (tensors(usage={"shape": ["2"]}), 400, "'usage': shape"),
    "no shape": (tensors(usage={"shape": 2}), 400, "'usage' has no 'shape'"),
    "no data": (tensors(usage={"data": None}), 400, "'usage' has no list 'data'"),
    "a NaN": (tensors(usage={"data": [1, float("nan")]}), 400, "not JSON"),
    "a number beyond floats": (tensors(usage={"data": [1, 1e39]}), 400, "'usage', row 1"),
    "a fraction in an integer": (tensors(usage={"datatype": "INT32", "data": [1, 1.5]}), 400, "'usage', row 1"),
    "text in a number": (tensors(usage={"data": [1, "x"]}), 400, "'usage', row 1: expected a number, got text 'x'"),
    "a gap where none is allowed": (
        tensors(active={"data": [True, None]}),
        400,
        "'active', row 1: a value is required",
    ),
    "bytes that are not there": (tensors(usage={"parameters": {"binary_data_size": 8}}), 400, "binary_data_size"),
    "missing rows that are not there": (tensors(usage={"parameters": {"missing": "9"}}), 400, "row 9"),
    "missing rows that are no text": (tensors(usage={"parameters": {"missing": [1]}}), 400, "'missing'"),
    "parameters that are no object": (tensors(usage={"parameters": 3}), 400, "'parameters'"),
    "a key said twice": (tensors()[:-1] + b', "inputs": []}', 400, "no rows|absent|twice"),
    "an id that is no text": (tensors()[:-1] + b', "id": 3}', 400, "'id'"),
    "an unknown output": (tensors()[:-1] + b', "outputs": [{"name": "price"}]}', 400, "'price'"),
    "outputs that are no list": (tensors()[:-1] + b', "outputs": 7}', 400, "'outputs'"),
    "outputs that are an empty object": (tensors()[:-1] + b', "outputs": {}}', 400, "'outputs'"),
    "a raw output that is neither": (
        tensors()[:-1] + b', "outputs": [{"name": "score", "parameters": {"binary_data": 1}}]}',
        400,
        "'binary_data'",
    ),
}


@pytest.mark.parametrize("name", BAD_V1)
def test_v1_refuses(connection: HTTPConnection, name: str):
    body, status, sentence = BAD_V1[name]

    got = post(connection, V1, body)

    assert got[0] == status, got
    assert sentence in got[1]


@pytest.mark.parametrize("name", BAD_V2)
def test_v2_refuses(connection: HTTPConnection, name: str):
    body, status, sentences = BAD_V2[name]

    got = post(connection, V2, body)

    assert got[0] == status, got
    assert any(sentence in got[1] for sentence in sentences.split("|")), got


@pytest.mark.parametrize(
    "path, headers, status, sentence",
    [
        ("/v1/models/other:predict", {}, 404, "'other'"),
        ("/v2/models/other/infer", {}, 404, "'other'"),
        (f"/v2/models/{tiny.NAME}/versions/77/infer", {}, 404, "'77'"),
        ("/v1/models/%00:predict", {}, 404, "unknown"),
        (f"/v1/models/{tiny.NAME}:clarify", {}, 404, "nothing at"),
        ("/v3/anything", {}, 404, "nothing at"),
        (V1, {"Content_Type": "text/csv"}, 415, "text/csv"),
        (V1, {"Content_Type": "application/json; charset=latin-1"}, 415, "latin-1"),
        (V1, {"Content_Encoding": "gzip"}, 415, "compressed"),
        (V1, {"Content_Encoding": "Identity"}, 200, "predictions"),
        (V2, {"Inference_Header_Content_Length": "many"}, 400, "Inference-Header-Content-Length"),
        (V2, {"Inference_Header_Content_Length": "3"}, 400, "not JSON"),
    ],
)
def test_addresses_and_headers(
    connection: HTTPConnection, path: str, headers: dict[str, str], status: int, sentence: str
):
    got = post(connection, path, one(), **headers)

    assert got[0] == status, got
    assert sentence in got[1]


def test_a_body_is_refused_by_its_declared_length_before_it_is_read(running: local.Running):
    with raw(running, f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n\r\n") as answers:
        assert answers.readline().split()[1] == b"413"


def test_a_body_without_a_length_is_refused_while_it_streams(connection: HTTPConnection):
    chunks = (b" " * 65_536 for _ in range(64))

    got = post(connection, V1, chunks)

    assert got[0] == 413
    assert str(LIMIT) in got[1]


def test_a_body_of_exactly_the_limit_is_answered(connection: HTTPConnection):
    assert post(connection, V1, one().ljust(LIMIT))[0] == 200
    assert post(connection, V1, one().ljust(LIMIT + 1))[0] == 413


def test_a_body_that_does_not_arrive_is_given_up():
    async def never() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(RequestRefused, match=r"did not arrive within 0\.05 s") as refused:
        asyncio.run(
            read_body(never, {b"content-length": b"9"}, limit=100, held=BodyBytes(BytesInFlight()), timeout_s=0.05)
        )

    assert refused.value.status == 408


def test_a_client_that_leaves_in_the_middle_harms_nobody(running: local.Running, connection: HTTPConnection):
    for _ in range(20):
        with raw(running, f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n" + '{"inst'):
            pass

    assert post(connection, V1, one())[0] == 200


NOISE = {
    "bytes": "\x00\x01\x02\r\n\r\n",
    "no target": "POST\r\n\r\n",
    "another version": "GET / HTTP/9.9\r\n\r\n",
    "a length that is none": f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "a chunk that is none": f"POST {V1} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a name outside ASCII": "POST /v1/models/\xe9:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    "a type outside ASCII": f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Type: \xe9\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("noise", NOISE)
def test_what_is_no_http_gets_a_4xx_or_a_closed_connection(running: local.Running, noise: str):
    with raw(running, NOISE[noise]) as answers:
        first = answers.readline()

    assert first == b"" or first.split()[1].startswith(b"4"), first


def test_only_the_loopback_address_listens(running: local.Running):
    assert running.server.grpc_address
    for address in (running.server.rest_url.rpartition(":")[2], running.server.grpc_address.rpartition(":")[2]):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", int(address)), timeout=5)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
FIELD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | JSON
ROW = st.fixed_dictionaries({}, optional={"usage": FIELD, "active": FIELD, "plan": FIELD, "x": FIELD})
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["usage", "active", "plan", "x"]) | JSON,
        "datatype": st.sampled_from(["FP32", "INT64", "BOOL", "BYTES", "FP16", "UINT8"]) | JSON,
        "shape": st.lists(st.integers(-1, 3), max_size=3) | JSON,
        "data": st.lists(FIELD, max_size=3) | JSON,
        "parameters": st.dictionaries(st.sampled_from(["missing", "binary_data_size"]), JSON) | JSON,
    },
)
RELAXED = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@RELAXED
@given(document=JSON | st.fixed_dictionaries({"instances": st.lists(ROW, max_size=3) | JSON}))
def test_no_v1_document_is_answered_with_a_5xx(running: local.Running, document: Any):
    assert status_of(running, V1, json.dumps(document).encode()) < 500


@RELAXED
@given(
    document=st.fixed_dictionaries(
        {"inputs": st.lists(TENSOR, max_size=4) | JSON}, optional={"id": JSON, "outputs": JSON, "parameters": JSON}
    )
)
def test_no_v2_document_is_answered_with_a_5xx(running: local.Running, document: Any):
    assert status_of(running, V2, json.dumps(document).encode()) < 500


@RELAXED
@given(body=st.binary(max_size=200), length=st.none() | st.integers(0, 300))
def test_no_bytes_are_answered_with_a_5xx(running: local.Running, body: bytes, length: int | None):
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    assert status_of(running, V2, body, headers) < 500


@RELAXED
@given(
    usage=st.none() | st.floats(-3e38, 3e38, allow_nan=False) | st.integers(-(2**62), 2**62),
    active=st.booleans(),
    plan=st.none() | st.text(max_size=30),
)
def test_every_row_that_the_signature_allows_is_answered(
    running: local.Running, usage: float | None, active: bool, plan: str | None
):
    answer = inference.predict(running.server.rest_url, tiny.NAME, [{"usage": usage, "active": active, "plan": plan}])

    (prediction,) = answer["predictions"]
    assert 0 <= prediction["score"] <= 1
    assert prediction["out_of_vocabulary"] == ([] if (plan or "") in tiny.PLANS else ["plan"])


def status_of(running: local.Running, path: str, body: bytes, headers: dict[str, str] | None = None) -> int:
    made = HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=15)
    made.request("POST", path, body, {"Content-Type": "application/json"} | (headers or {}))
    status = made.getresponse().status
    made.close()
    return status


class raw:
    """A connection on which anything may be written; yields what comes back."""

    def __init__(self, running: local.Running, text: str) -> None:
        address = urlsplit(running.server.rest_url)
        self._socket = socket.create_connection((address.hostname, address.port), timeout=10)
        self._socket.sendall(text.encode("latin-1"))
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Any:
        return self._answers

    def __exit__(self, *failure: object) -> None:
        self._answers.close()
        self._socket.close()
