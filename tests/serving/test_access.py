"""A server beyond the loopback address answers nobody without a token, and tokens change while it runs."""

import doctest
import json
import os
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import grpc
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared import inference
from components.shared.errors import InputError, StepFailed
from components.shared.release import endpoint_folder
from pipelines.targets.local import endpoint as local
from serving import access
from serving.access import Tokens, check_exposure
from tests.serving import tiny
from tests.serving.test_rollout import PYTHON, ROOT, until

FIRST, SECOND = "a" * 32, "b" * 32
ROW = tiny.SAMPLE[0]


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(access).failed == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# of the shop\n{FIRST}\n\n")
    return path


def test_beyond_loopback_somebody_has_to_authenticate():
    check_exposure("127.0.0.1", has_tokens=False, authenticated_by=None)
    check_exposure("0.0.0.0", has_tokens=True, authenticated_by=None)
    check_exposure("0.0.0.0", has_tokens=False, authenticated_by="gateway")
    with pytest.raises(
        InputError, match=r"on 0\.0\.0\.0 the server would answer anybody who reaches it; give it tokens"
    ):
        check_exposure("0.0.0.0", has_tokens=False, authenticated_by=None)


def test_only_a_known_token_is_admitted(file: Path):
    tokens = Tokens(file, own="c" * 32)

    for right in (f"Bearer {FIRST}", f"bearer  {FIRST} ", "Bearer " + "c" * 32):
        assert tokens.client(right) is not None, right
    for wrong in (
        None,
        "",
        FIRST,
        "Bearer",
        "Bearer ",
        f"Bearer {SECOND}",
        f"Basic {FIRST}",
        f"Bearer {FIRST[:-1]}",
        "Bearer \udcff",
    ):
        assert tokens.client(wrong) is None, wrong


def test_a_changed_file_counts_from_the_next_request_and_a_broken_one_does_not(file: Path):
    tokens = Tokens(file)
    file.write_text(SECOND)
    os.utime(file, ns=(1, 1))
    assert tokens.client(f"Bearer {SECOND}") and tokens.client(f"Bearer {FIRST}") is None

    file.unlink()
    assert tokens.client(f"Bearer {SECOND}"), "the former tokens go on"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("", "holds no token"), ("# none\n", "holds no token"), ("short\n", "token 1 of .* less than")],
)
def test_a_file_without_a_good_token_is_refused(file: Path, content: str, sentence: str):
    file.write_text(content)
    with pytest.raises(InputError, match=sentence):
        Tokens(file)
    with pytest.raises(InputError, match="cannot be read"):
        Tokens(file.with_name("absent"))


def ask(url: str, path: str, token: str | None = None, body: bytes | None = None) -> tuple[int, dict[str, str]]:
    address = urlsplit(url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=10)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    connection.request("POST" if body else "GET", path, body, headers)
    response = connection.getresponse()
    response.read()
    return response.status, {name.lower(): value for name, value in response.getheaders()}


def test_a_server_with_tokens_answers_probes_and_those_who_have_one(tmp_path: Path, file: Path):
    body = json.dumps({"instances": [ROW]}).encode()
    predict, model = f"/v1/models/{tiny.NAME}:predict", f"/v2/models/{tiny.NAME}"
    options = [f"--tokens={file}"]
    with local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running:
        url = running.server.rest_url
        for path in ("/v2/health/live", "/v2/health/ready", f"{model}/ready", f"{model}/versions/1/ready"):
            assert ask(url, path)[0] == 200, path
        for path in (model, f"{model}/stats", "/metrics", "/openapi.json", "/v2/models", "/docs"):
            assert ask(url, path)[0] == 401, path
        for path in (f"{model}/ready", f"/v1/models/{tiny.NAME}", "/v2/repository/index"):
            assert ask(url, path, body=b"{}")[0] == 401, path
        refused, headers = ask(url, predict, body=body)
        assert (refused, headers["www-authenticate"]) == (401, "Bearer")
        assert ask(url, predict, SECOND, body)[0] == 401
        assert ask(url, predict, FIRST, body)[0] == 200
        request = Request(f"{url}/metrics", headers={"Authorization": f"Bearer {FIRST}"})
        shown = urlopen(request, timeout=10).read().decode()
        assert f'perennial_request_errors_total{{model_name="{tiny.NAME}",reason="token"}}' in shown

        file.write_text(SECOND)
        until(lambda: ask(url, predict, SECOND, body)[0] == 200)
        assert ask(url, predict, FIRST, body)[0] == 401

        # The commands on this machine have a key of their own, which only this account can read.
        server = endpoint_folder.server(running.endpoint)
        assert server is not None and server.key is not None
        assert (running.endpoint / "server.json").stat().st_mode & 0o077 == 0
        assert inference.predict(server.url, tiny.NAME, [ROW])["model_version"] == "1"
        with pytest.raises(StepFailed) as failed:
            inference.call(server.url.replace(str(urlsplit(url).port), "1"), "/v2/health/live")
        assert server.key not in str(failed.value)
        assert server.key not in (running.endpoint / local.LOG).read_text()


def test_grpc_needs_the_same_token(tmp_path: Path, file: Path):
    options = [f"--tokens={file}"]
    with (
        local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, options=options) as running,
        grpc.insecure_channel(running.server.grpc_address or "") as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(pb.ServerReadyRequest(), timeout=10).ready
        request = pb.ModelMetadataRequest(name=tiny.NAME)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelMetadata(request, timeout=10)
        known = [("authorization", f"Bearer {FIRST}")]
        assert stub.ModelMetadata(request, timeout=10, metadata=known).name == tiny.NAME

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_server_for_everybody_does_not_start(tmp_path: Path):
    began = time.monotonic()
    with pytest.raises(InputError, match="would answer anybody who reaches it"):
        local.start(tiny.released(tmp_path), python=PYTHON, source=ROOT, host="0.0.0.0")
    assert time.monotonic() - began < 20
