"""A server that is told to end loses no request, and its memory for requests has a bound."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import pytest
from grpc import aio
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.errors import StepFailed
from pipelines.targets.local import endpoint as local
from serving.ending import Ending
from serving.limits import CEILING_BYTES, CEILING_MIB, BytesInFlight, message_limits
from serving.refusal import RequestRefused
from serving.release import ServedRelease
from tests.serving import tiny
from tests.serving.test_rollout import PYTHON, ROOT, until

BODY = json.dumps({"instances": [tiny.SAMPLE[0]]})
HEADERS = {"Content-Type": "application/json"}


class Clients:
    """Clients that ask until they are told to leave, as by a load balancer with other servers behind it.

    A request that was sent and not answered is lost. UNAVAILABLE over gRPC is an answer, which allows to send it again.
    """

    def __init__(self, url: str, grpc_address: str) -> None:
        self.url, self.grpc_address = urlsplit(url), grpc_address
        self.answered, self.retried = 0, 0
        self.lost: list[str] = []
        kinds: list[Callable[[], None]] = [self._kept] * 6 + [self._fresh] * 2 + [self._grpc] * 4
        self.threads = [threading.Thread(target=kind) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self.threads)

    def _kept(self) -> None:
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=10)
        while self._asked(connection):
            pass

    def _fresh(self) -> None:
        while self._asked(http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=10)):
            time.sleep(0.002)

    def _asked(self, connection: http.client.HTTPConnection) -> bool:
        try:
            if connection.sock is None:
                connection.connect()
        except OSError:
            return False
        try:
            connection.request("POST", f"/v1/models/{tiny.NAME}:predict", BODY, HEADERS)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            self.lost.append(repr(error))
            return True
        self.answered += response.status == 200
        if response.status != 200:
            self.lost.append(str(response.status))
        return response.getheader("Connection") != "close"

    def _grpc(self) -> None:
        request = pb.ModelInferRequest(model_name=tiny.NAME)
        for name, kind, key, value in (
            ("usage", "FP64", "fp64_contents", 1.5),
            ("active", "BOOL", "bool_contents", True),
            ("plan", "BYTES", "bytes_contents", b"basic"),
        ):
            tensor = request.inputs.add(name=name, datatype=kind, shape=[1])
            getattr(tensor.contents, key).append(value)
        with grpc.insecure_channel(self.grpc_address) as channel:
            stub = GRPCInferenceServiceStub(channel)
            while True:
                try:
                    stub.ModelInfer(request, timeout=10)
                    self.answered += 1
                except grpc.RpcError as error:
                    # The code for which a client may ask again, elsewhere.
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        self.retried += 1
                    else:
                        self.lost.append(str(error.code()))
                    return


def test_no_client_loses_a_request_when_the_server_ends(tmp_path: Path):
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT) as running:
        clients = Clients(running.server.rest_url, running.server.grpc_address or "")
        until(lambda: clients.answered > 500)
        began = time.monotonic()
        running.stop()
        ended_s = time.monotonic() - began
        clients.join()

    assert clients.lost == []
    assert clients.retried == 4, "every gRPC client was told to ask elsewhere"
    assert ended_s < 8


def test_a_server_without_clients_ends_at_once(tmp_path: Path):
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT) as running:
        began = time.monotonic()
        running.stop()

    assert time.monotonic() - began < 4


def test_readiness_ends_with_the_first_sign_and_answers_say_that_they_are_the_last():
    ending = Ending(timer_s=iter([1.0, 1.2, 1.3, 1.4, 1.8]).__next__)

    assert not ending.noticed() and not ending.told_for(0.5)
    ending.begin()
    assert ending.noticed() and ending.began
    assert not ending.told_for(0.5)
    assert ending.told_for(0.5)


def test_where_nobody_asks_nobody_has_to_be_told():
    ending = Ending(timer_s=iter([1.0, 9.0]).__next__)
    ending.noticed()
    ending.begin()

    assert ending.told_for(0.5)


def test_bodies_in_flight_have_a_budget_which_is_given_back():
    budget = BytesInFlight(budget_bytes=100)

    with budget.request() as one, budget.request() as other:
        one.add(60)
        other.add(40)
        with pytest.raises(RequestRefused, match="ask again in a moment") as refused:
            other.add(1)
        assert refused.value.status == 503
    with budget.request() as later:
        later.add(100)

    assert budget.held == 0


def test_no_message_larger_than_any_release_may_take_is_read(tmp_path: Path):
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT) as running:
        request = pb.ModelInferRequest(model_name=tiny.NAME, raw_input_contents=[bytes(CEILING_BYTES + 1)])
        options = [("grpc.max_send_message_length", -1)]
        channel = grpc.insecure_channel(running.server.grpc_address or "", options)
        with channel, pytest.raises(grpc.RpcError) as refused:
            GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_calls_that_send_no_message_are_limited_and_leave_room_again(tmp_path: Path):
    method = "/inference.GRPCInferenceService/ModelInfer"
    calls = message_limits(2**18).calls
    request = pb.ModelInferRequest(model_name="another")

    async def asked(channel: aio.Channel) -> grpc.StatusCode:
        with pytest.raises(aio.AioRpcError) as refused:
            await GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=20)
        return refused.value.code()

    async def codes(address: str) -> tuple[grpc.StatusCode, grpc.StatusCode]:
        async with aio.insecure_channel(address) as channel, aio.insecure_channel(address) as other:
            stalled = [channel.stream_unary(method)() for _ in range(calls)]
            while (full := await asked(other)) is grpc.StatusCode.NOT_FOUND:
                await asyncio.sleep(0.05)
            for call in stalled:
                call.cancel()
            while (free := await asked(other)) is full:
                await asyncio.sleep(0.05)
            return full, free

    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT) as running:
        answers = asyncio.run(asyncio.wait_for(codes(running.server.grpc_address or ""), 30))

    assert answers == (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND)


def test_a_release_that_takes_larger_requests_than_the_server_is_not_loaded(tmp_path: Path):
    package = tiny.package(tmp_path / "model", request_mib=CEILING_MIB + 1)

    with pytest.raises(StepFailed, match="release 1 takes requests of 33 MiB, the server at most 32; lower"):
        ServedRelease(package, tiny.NAME, "1")
