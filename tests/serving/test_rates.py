"""Each token may ask so often and send so much, over every protocol; the others and the probes notice nothing."""

import json
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared import inference
from components.shared.errors import InputError
from pipelines.targets.local import endpoint as local
from serving.rates import Rate, Rates
from serving.refusal import RequestRefused
from tests.serving import tiny
from tests.serving.test_protocols import grpc_request
from tests.serving.test_rollout import PYTHON, ROOT

BUSY, CALM = "a" * 32, "b" * 32
BODY = json.dumps({"instances": [tiny.SAMPLE[0]]}).encode()


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def taken(rates: Rates, client: bytes = b"x") -> bool:
    try:
        rates.take(client)
    except RequestRefused as refusal:
        assert refusal.status == 429 and refusal.retry_s is not None and refusal.retry_s >= 1
        return False
    return True


def test_a_second_of_requests_may_come_at_once_and_then_as_many_as_the_rate():
    clock = Clock()
    rates = Rates(Rate(requests_per_s=5), clock)

    assert [taken(rates) for _ in range(6)] == [True] * 5 + [False]
    clock.now_s = 0.2
    assert [taken(rates) for _ in range(2)] == [True, False]
    clock.now_s = 100
    assert [taken(rates) for _ in range(6)] == [True] * 5 + [False], "what was not used does not add up"


def test_a_rate_below_one_a_second_is_one_now_and_then():
    clock = Clock()
    rates = Rates(Rate(requests_per_s=0.1), clock)

    assert [taken(rates) for _ in range(2)] == [True, False]
    with pytest.raises(RequestRefused, match=r"may send 0\.1 requests per second; ask again in 10 s") as refused:
        rates.take(b"x")
    assert refused.value.retry_s == 10


def test_a_large_request_is_answered_and_its_client_waits_for_the_next_one():
    clock = Clock()
    rates = Rates(Rate(bytes_per_s=1000), clock)

    assert taken(rates)
    rates.charge(b"x", 5000)
    assert not taken(rates)
    assert taken(rates, b"another")
    clock.now_s = 4.1
    assert taken(rates)


@given(
    per_s=st.floats(0.5, 50),
    pauses_s=st.lists(st.floats(0, 0.5), min_size=1, max_size=200),
)
def test_never_more_than_a_second_of_requests_above_the_rate(per_s: float, pauses_s: list[float]):
    clock = Clock()
    rates = Rates(Rate(requests_per_s=per_s), clock)
    admitted = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        admitted += taken(rates)

    assert admitted <= max(1, per_s) + per_s * clock.now_s + 1e-6


def test_the_busy_token_is_slowed_down_on_every_protocol_and_nobody_else(tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{BUSY}\n{CALM}\n")
    options = ["--tokens", str(tokens), "--rate", "3"]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        answers = [ask(running, BUSY) for _ in range(6)]
        code, sentence = ask_grpc(running, BUSY)
        others = [ask(running, CALM)[0] for _ in range(3)]
        probes = [inference.call(running.server.rest_url, "/v2/health/ready")[0] for _ in range(10)]
        own = [inference.predict(running.server.url, tiny.NAME, tiny.SAMPLE)["model_version"] for _ in range(10)]
        time.sleep(1.1)
        again = ask(running, BUSY)[0]

    assert [status for status, _, _ in answers] == [200] * 3 + [429] * 3
    assert answers[-1][1]["retry-after"] == "1"
    assert "may send 3 requests per second" in answers[-1][2]
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "requests per second" in sentence
    assert (others, probes, own, again) == ([200] * 3, [200] * 10, ["1"] * 10, 200)


def test_bytes_are_counted_over_rest_and_grpc(tmp_path: Path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{BUSY}\n{CALM}\n")
    options = ["--tokens", str(tokens), "--rate-mib", str(len(BODY) / 2**20)]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        rest = [ask(running, BUSY, BODY.ljust(10_000))[0] for _ in range(2)]
        over_grpc = [ask_grpc(running, CALM)[0] for _ in range(2)]

    assert rest == [200, 429]
    assert over_grpc == [grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED]


def test_a_rate_without_tokens_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="a rate is that of a token; give the server tokens"):
        local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=["--rate", "3"])


def ask(running: local.Running, token: str, body: bytes = BODY) -> tuple[int, dict[str, str], str]:
    connection = HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=10)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    connection.request("POST", f"/v1/models/{tiny.NAME}:predict", body, headers)
    response = connection.getresponse()
    return response.status, {n.lower(): v for n, v in response.getheaders()}, response.read().decode()


def ask_grpc(running: local.Running, token: str) -> tuple[grpc.StatusCode, str]:
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        try:
            GRPCInferenceServiceStub(channel).ModelInfer(
                grpc_request(), timeout=10, metadata=[("authorization", f"Bearer {token}")]
            )
        except grpc.RpcError as refused:
            return refused.code(), refused.details()
    return grpc.StatusCode.OK, ""
