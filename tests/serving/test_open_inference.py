"""The Open Inference Protocol to the letter, and a description of the model that describes nothing that is refused."""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import yaml
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.release import endpoint_folder, routing
from components.shared.release.routing import Routing
from pipelines.targets.local import endpoint as local
from tests.serving import tiny
from tests.serving.test_protocols import ROWS, expected_scores, grpc_request, v2_inputs
from tests.serving.test_rollout import PYTHON, ROOT, place, ready, until

MODEL = f"/v2/models/{tiny.NAME}"


def ask(
    running: local.Running, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "application/json"} | named)
    response = connection.getresponse()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def read_json(running: local.Running, path: str) -> Any:
    status, _, body = ask(running, path)
    assert status == 200, body
    return json.loads(body)


def test_the_server_names_the_extensions_that_it_has(running: local.Running):
    for path in ("/v2", "/v2/"):
        assert read_json(running, path) == {"name": "perennial", "version": "", "extensions": ["binary_tensor_data"]}


def test_the_model_has_a_platform_of_the_protocol_and_its_versions(running: local.Running):
    described = read_json(running, MODEL)

    assert described["platform"] == "onnx_onnxv1"
    assert described["versions"] == ["1"]
    assert described == read_json(running, f"{MODEL}/versions/1")


@pytest.mark.parametrize("path", ["", "/versions/1", "/versions/1/ready", "/ready", "/stats"])
def test_an_unknown_name_is_unknown_with_and_without_a_version(running: local.Running, path: str):
    status, _, body = ask(running, f"/v2/models/other{path}")

    assert status == 404
    assert "'other' is unknown" in json.loads(body)["error"]


@pytest.mark.parametrize(
    "path, allowed",
    [
        ("/v2", "GET, HEAD"),
        (MODEL, "GET, HEAD"),
        (f"{MODEL}/ready", "GET, HEAD"),
        ("/v2/health/live", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        (f"{MODEL}/infer", "POST"),
        (f"{MODEL}/versions/1/infer", "POST"),
        (f"/v1/models/{tiny.NAME}:predict", "POST"),
    ],
)
def test_another_method_is_told_which_are_allowed(running: local.Running, path: str, allowed: str):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST" if allowed != "POST" else "GET"):
        status, headers, _ = ask(running, path, method)
        assert (status, headers["allow"]) == (405, allowed), method


def test_head_has_the_headers_of_get_and_no_body(running: local.Running):
    _, expected, _ = ask(running, MODEL)
    status, headers, body = ask(running, MODEL, "HEAD")

    assert (status, headers["content-length"], body) == (200, expected["content-length"], b"")


@pytest.mark.parametrize(
    "document, raw_names",
    [
        ({"parameters": {"binary_data_output": True}}, ["score", "decision", "out_of_vocabulary"]),
        ({"outputs": [{"name": "score", "parameters": {"binary_data": True}}, {"name": "decision"}]}, ["score"]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "score"}, {"name": "decision", "parameters": {"binary_data": False}}],
            },
            ["score"],
        ),
    ],
)
def test_outputs_may_be_raw(running: local.Running, document: dict[str, Any], raw_names: list[str]):
    body = json.dumps(document | {"inputs": v2_inputs(ROWS)}).encode()

    status, headers, content = ask(running, f"{MODEL}/infer", "POST", body)

    length = int(headers["inference-header-content-length"])
    outputs = {output["name"]: output for output in json.loads(content[:length])["outputs"]}
    raw, offset = {}, length
    for name, output in outputs.items():
        if (size := output.get("parameters", {}).get("binary_data_size")) is not None:
            raw[name] = content[offset : offset + size]
            offset += size
    assert status == 200 and headers["content-type"] == "application/octet-stream"
    assert list(raw) == raw_names and offset == len(content)
    assert list(struct.unpack("<4f", raw["score"])) == expected_scores()
    if "decision" in raw:
        assert raw["decision"] == b"".join(struct.pack("<I", len(t)) + t for t in (b"yes", b"no", b"yes", b"yes"))
    else:
        assert outputs["decision"]["data"] == ["yes", "no", "yes", "yes"]
    assert all("data" not in outputs[name] for name in raw)


@pytest.fixture
def with_candidate(tmp_path: Path) -> Iterator[local.Running]:
    """Version 2 is loaded, version 1 answers."""
    endpoint = tiny.released(tmp_path)
    with local.start(endpoint, python=PYTHON, source=ROOT) as running:
        place(tmp_path, endpoint, "2")
        routing.write(endpoint, Routing(shares={"1": 100, "2": 0}))
        until(lambda: ready(running.server, "2") == 200)
        yield running
    assert endpoint_folder.server(endpoint) is None


def test_both_transports_describe_a_version_that_is_loaded_and_not_active(with_candidate: local.Running):
    described = read_json(with_candidate, f"{MODEL}/versions/2")
    with grpc.insecure_channel(with_candidate.server.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        same = stub.ModelMetadata(pb.ModelMetadataRequest(name=tiny.NAME, version="2"), timeout=10)
        server = stub.ServerMetadata(pb.ServerMetadataRequest(), timeout=10)
        live = stub.ServerLive(pb.ServerLiveRequest(), timeout=10)
        unknown = refusal(lambda: stub.ModelMetadata(pb.ModelMetadataRequest(name=tiny.NAME, version="9"), timeout=10))

    assert described["versions"] == list(same.versions) == ["1", "2"]
    assert (described["name"], described["platform"]) == (same.name, same.platform)
    for side in ("inputs", "outputs"):
        rest = [(tensor["name"], tensor["datatype"], tensor["shape"]) for tensor in described[side]]
        assert rest == [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in getattr(same, side)]
    assert (server.name, server.version, list(server.extensions)) == ("perennial", "", ["binary_tensor_data"])
    assert live.live
    assert unknown == (grpc.StatusCode.NOT_FOUND, json.loads(ask(with_candidate, f"{MODEL}/versions/9")[2])["error"])


def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as refused:
        call()
    return refused.value.code(), refused.value.details()


def test_the_description_has_the_features_as_they_are_checked(running: local.Running):
    document = read_json(running, "/openapi.json")
    schemas = document["components"]["schemas"]
    row = schemas["row"]

    assert set(row["required"]) == set(row["properties"]) == set(ROWS[0])
    assert row["additionalProperties"] is False
    assert row["properties"]["usage"]["type"] == ["number", "null"]
    assert row["properties"]["active"]["type"] == "boolean"
    assert schemas["v1_request"]["properties"]["instances"]["maxItems"] == 300
    for path, item in document["paths"].items():
        if "get" in item:
            assert ask(running, path)[0] == 200, path
        else:
            assert ask(running, path, "POST", b"{}")[0] == 400, path


CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["4xx"]

# A schema can't say that all tensors have as many rows, nor that 2.0 rows are none.
[[operations]]
include-name = "POST {model}/infer"
[operations.checks.positive_data_acceptance]
enabled = false
[[operations]]
include-name = "POST {model}/explain"
[operations.checks.positive_data_acceptance]
enabled = false
"""


def schemathesis() -> str:
    """Return the program that PERENNIAL_SCHEMATHESIS names."""
    program = os.environ.get("PERENNIAL_SCHEMATHESIS", "")
    if not shutil.which(program):
        pytest.skip("PERENNIAL_SCHEMATHESIS names no schemathesis program")
    return program


def test_schemathesis_finds_nothing_in_the_models_own_description(running: local.Running, tmp_path: Path):
    program = schemathesis()
    (tmp_path / "schemathesis.toml").write_text(CONFIG.format(model=MODEL))
    url = f"{running.server.rest_url}/openapi.json"
    command = [program, "--config-file", "schemathesis.toml", "run", url, "--max-examples", "100", "--seed", "1"]

    done = subprocess.run([*command, "--no-color"], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-5000:]


def test_schemathesis_finds_nothing_in_the_protocols_definition_but_what_is_explained(
    running: local.Running, tmp_path: Path
):
    program, definition = schemathesis(), Path(os.environ.get("PERENNIAL_OPEN_INFERENCE", ""))
    if not definition.is_file():
        pytest.skip("PERENNIAL_OPEN_INFERENCE names no definition of the protocol")
    document = yaml.safe_load(definition.read_text())
    # The definition writes its parameters as ${NAME}, knows no 404, and knows no model's features.
    document["paths"] = {path.replace("${", "{"): item for path, item in document["paths"].items()}
    for item in document["paths"].values():
        for parameter in item.get("parameters", []):
            parameter["schema"]["enum"] = [tiny.NAME if parameter["name"] == "MODEL_NAME" else "1"]
        for operation in item.values():
            if isinstance(operation, dict) and "responses" in operation:
                operation["responses"]["404"] = {"description": "Not found"}
    (tmp_path / "definition.yaml").write_text(yaml.safe_dump(document))
    command = [program, "run", "definition.yaml", "--url", running.server.rest_url, "--max-examples", "100"]
    further = ["--seed", "1", "--exclude-checks", "positive_data_acceptance", "--no-color"]

    done = subprocess.run([*command, *further], cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-5000:]


def test_raw_tensors_over_grpc_are_answered_in_raw_tensors_unless_they_are_unwanted(running: local.Running):
    request = pb.ModelInferRequest(model_name=tiny.NAME)
    for name, datatype, raw in (
        ("usage", "FP64", struct.pack("<d", 1.5)),
        ("active", "BOOL", b"\x01"),
        ("plan", "BYTES", struct.pack("<I", 5) + b"basic"),
    ):
        request.inputs.add(name=name, datatype=datatype, shape=[1])
        request.raw_input_contents.append(raw)
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        raw_answer = stub.ModelInfer(request, timeout=10)
        request.parameters["binary_data_output"].bool_param = False
        typed = stub.ModelInfer(request, timeout=10)

    [score] = typed.outputs[0].contents.fp32_contents
    assert raw_answer.raw_output_contents[0] == struct.pack("<f", score)
    assert raw_answer.raw_output_contents[1] == struct.pack("<I", 3) + b"yes"
    assert not any(output.contents.ListFields() for output in raw_answer.outputs)
    assert not typed.raw_output_contents


def test_both_transports_give_the_outputs_that_are_requested_and_refuse_unknown_ones(running: local.Running):
    def requested(*names: str) -> tuple[list[str], list[str]]:
        document = {"inputs": v2_inputs(ROWS), "outputs": [{"name": name} for name in names]}
        rest = json.loads(ask(running, f"{MODEL}/infer", "POST", json.dumps(document).encode())[2])
        request = grpc_request()
        for name in names:
            request.outputs.add(name=name)
        with grpc.insecure_channel(running.server.grpc_address) as channel:
            answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)
        assert all(output.shape == [4] and output.contents.ListFields() for output in answer.outputs)
        return [output["name"] for output in rest["outputs"]], [output.name for output in answer.outputs]

    for names in (["decision"], ["score", "out_of_vocabulary"], []):
        assert requested(*names) == ((names or ["score", "decision", "out_of_vocabulary"],) * 2)
    unknown = grpc_request()
    unknown.outputs.add(name="price")
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        code, sentence = refusal(lambda: GRPCInferenceServiceStub(channel).ModelInfer(unknown, timeout=10))
    assert (code, "'price' is unknown" in sentence) == (grpc.StatusCode.INVALID_ARGUMENT, True)
