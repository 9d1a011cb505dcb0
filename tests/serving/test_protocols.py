"""V1, V2 and gRPC give the same answers: score, decision, release, and what was never seen in training."""

import asyncio
import http.client
import json
import re
import struct
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import pytest
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    InferResponse,
    RESTConfig,
)
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared import inference
from pipelines.targets.local import endpoint as local
from tests.serving import tiny

ROWS = [*tiny.SAMPLE, {"usage": 3, "active": False, "plan": "東京"}]


def get(running: local.Running, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def post(running: local.Running, path: str, body: bytes, **headers: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(running.server.rest_url).netloc, timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", path, body, {"Content-Type": "application/json"} | named)
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    return answer


def v2_inputs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    types = {"usage": "FP64", "active": "BOOL", "plan": "BYTES"}
    return [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, datatype in types.items()
    ]


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in answer["outputs"]}


def expected_scores() -> Any:
    return pytest.approx([tiny.score(row) for row in ROWS], abs=1e-6)


def test_v1_answers_score_decision_release_and_flags(running: local.Running):
    answer = inference.predict(running.server.rest_url, tiny.NAME, ROWS)

    assert (answer["model_name"], answer["model_version"]) == (tiny.NAME, "1")
    assert [p["score"] for p in answer["predictions"]] == expected_scores()
    assert [p["decision"] for p in answer["predictions"]] == [
        "yes" if tiny.score(row) >= tiny.THRESHOLD else "no" for row in ROWS
    ]
    assert [p["out_of_vocabulary"] for p in answer["predictions"]] == [[], [], [], ["plan"]]


def test_every_protocol_says_which_classes_a_score_is_about(running: local.Running):
    v1 = inference.predict(running.server.rest_url, tiny.NAME, ROWS)
    body = json.dumps({"inputs": v2_inputs(ROWS)}).encode()
    v2 = next(o for o in post(running, f"/v2/models/{tiny.NAME}/infer", body)["outputs"] if o["name"] == "score")
    _, described = inference.call(running.server.rest_url, f"/v2/models/{tiny.NAME}")
    metadata = next(output for output in described["outputs"] if output["name"] == "score")
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(grpc_request(), timeout=10)
    rpc = next(output for output in answer.outputs if output.name == "score")

    assert (v1["classes"], v1["positive"]) == (["no", "yes"], "yes")
    # The Open Inference Protocol has no lists among its parameters.
    assert v2["parameters"] == metadata["parameters"] == {"classes": '["no","yes"]', "positive": "yes"}
    assert {name: value.string_param for name, value in rpc.parameters.items()} == v2["parameters"]


def test_v1_takes_a_content_type_with_a_charset(running: local.Running):
    body = json.dumps({"instances": ROWS}, ensure_ascii=False).encode()

    answer = post(running, f"/v1/models/{tiny.NAME}:predict", body, Content_Type="application/json; charset=utf-8")

    assert [p["score"] for p in answer["predictions"]] == expected_scores()


def test_v2_answers_what_v1_answers(running: local.Running):
    answer = post(
        running, f"/v2/models/{tiny.NAME}/infer", json.dumps({"id": "q7", "inputs": v2_inputs(ROWS)}).encode()
    )

    assert (answer["id"], answer["model_version"]) == ("q7", "1")
    assert outputs(answer)["score"] == expected_scores()
    assert outputs(answer)["out_of_vocabulary"] == ["[]", "[]", "[]", '["plan"]']
    assert outputs(answer)["decision"] == ["yes", "no", "yes", "yes"]


def test_v2_takes_columns_of_shape_rows_by_one_and_gives_only_what_is_asked(running: local.Running):
    inputs = [one | {"shape": [4, 1], "data": [[value] for value in one["data"]]} for one in v2_inputs(ROWS)]

    answer = post(
        running,
        f"/v2/models/{tiny.NAME}/versions/1/infer",
        json.dumps({"inputs": inputs, "outputs": [{"name": "score"}]}).encode(),
    )

    assert outputs(answer) == {"score": expected_scores()}


def test_v2_takes_binary_tensors(running: local.Running):
    texts = [(row["plan"] or "").encode() for row in ROWS]
    raw = {
        "usage": struct.pack("<4d", *(row["usage"] or 0 for row in ROWS)),
        "active": bytes(row["active"] for row in ROWS),
        "plan": b"".join(struct.pack("<I", len(text)) + text for text in texts),
    }
    inputs = [
        {key: one[key] for key in ("name", "datatype", "shape")}
        | {"parameters": {"binary_data_size": len(raw[one["name"]])} | missing}
        for one, missing in zip(v2_inputs(ROWS), ({"missing": "1"}, {}, {}), strict=True)
    ]
    head = json.dumps({"inputs": inputs}).encode()

    answer = post(
        running,
        f"/v2/models/{tiny.NAME}/infer",
        head + b"".join(raw.values()),
        Content_Type="application/octet-stream",
        Inference_Header_Content_Length=str(len(head)),
    )

    assert outputs(answer)["score"] == expected_scores()


def test_grpc_answers_what_v1_answers(running: local.Running):
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(grpc_request(), timeout=10)

    scores, decisions, unseen = answer.outputs
    assert (answer.model_name, answer.model_version, answer.id) == (tiny.NAME, "1", "q9")
    assert list(scores.contents.fp32_contents) == expected_scores()
    assert list(decisions.contents.bytes_contents) == [b"yes", b"no", b"yes", b"yes"]
    assert list(unseen.contents.bytes_contents) == [b"[]", b"[]", b"[]", b'["plan"]']


def grpc_request() -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name=tiny.NAME, id="q9")
    usage = request.inputs.add(name="usage", datatype="FP64", shape=[4])
    usage.contents.fp64_contents.extend(row["usage"] or 0 for row in ROWS)
    usage.parameters["missing"].string_param = "1"
    request.inputs.add(name="active", datatype="BOOL", shape=[4]).contents.bool_contents.extend(
        row["active"] for row in ROWS
    )
    request.inputs.add(name="plan", datatype="BYTES", shape=[4, 1]).contents.bytes_contents.extend(
        (row["plan"] or "").encode() for row in ROWS
    )
    return request


def test_kserves_own_clients_are_understood_and_understand(running: local.Running):
    server = running.server

    async def ask() -> list[InferResponse]:
        rest, rpc = InferenceRESTClient(RESTConfig(protocol="v2")), InferenceGRPCClient(server.grpc_address)
        assert await rest.is_model_ready(server.rest_url, tiny.NAME)
        assert await rpc.is_model_ready(tiny.NAME)
        over_rest = [await rest.infer(server.rest_url, kserve_request(b), model_name=tiny.NAME) for b in (False, True)]
        return [*over_rest, await rpc.infer(kserve_request(True))]

    for answer in asyncio.run(ask()):
        scores = answer.outputs[0].as_numpy().tolist()
        assert scores == pytest.approx([tiny.score(row) for row in (ROWS[0], ROWS[2])], abs=1e-6)


def kserve_request(binary: bool) -> InferRequest:
    rows = [ROWS[0], ROWS[2]]
    inputs = []
    for name, datatype, kind in (("usage", "FP64", float), ("active", "BOOL", bool), ("plan", "BYTES", object)):
        inputs.append(InferInput(name, [2], datatype))
        inputs[-1].set_data_from_numpy(np.array([row[name] for row in rows], dtype=kind), binary_data=binary)
    return InferRequest(tiny.NAME, inputs)


@pytest.mark.parametrize(
    "spoil, code, sentence",
    [
        (lambda r: setattr(r, "model_name", "other"), grpc.StatusCode.NOT_FOUND, "other"),
        (lambda r: setattr(r, "model_version", "9"), grpc.StatusCode.NOT_FOUND, "'9'"),
        (lambda r: r.inputs.pop(), grpc.StatusCode.INVALID_ARGUMENT, "'plan' is absent"),
        (lambda r: setattr(r.inputs[0], "name", "plan"), grpc.StatusCode.INVALID_ARGUMENT, "given twice"),
        (lambda r: setattr(r.inputs[0], "datatype", "BYTES"), grpc.StatusCode.INVALID_ARGUMENT, "'usage'"),
        (lambda r: r.inputs[0].shape.append(7), grpc.StatusCode.INVALID_ARGUMENT, "'usage'"),
        (lambda r: r.inputs[0].contents.fp64_contents.pop(), grpc.StatusCode.INVALID_ARGUMENT, "3 values"),
        (
            lambda r: r.inputs[0].contents.fp64_contents.__setitem__(2, float("nan")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "'usage', row 2: NaN",
        ),
        (
            lambda r: r.inputs[0].contents.fp64_contents.__setitem__(2, float("inf")),
            grpc.StatusCode.INVALID_ARGUMENT,
            "'usage', row 2",
        ),
        (
            lambda r: r.inputs[2].contents.bytes_contents.__setitem__(0, b"\xff"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "not UTF-8",
        ),
        (lambda r: r.raw_input_contents.append(b"1"), grpc.StatusCode.INVALID_ARGUMENT, "raw"),
        (
            lambda r: r.inputs[2].contents.bytes_contents.__setitem__(0, b"x" * 300_000),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "bytes",
        ),
    ],
)
def test_grpc_refuses_with_its_code_and_names_the_field(
    running: local.Running, spoil: Any, code: grpc.StatusCode, sentence: str
):
    request = grpc_request()
    spoil(request)
    with grpc.insecure_channel(running.server.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
        GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)

    assert refused.value.code() == code
    assert sentence in refused.value.details()


def test_nobody_loads_or_unloads_a_model_by_request(running: local.Running):
    with grpc.insecure_channel(running.server.grpc_address) as channel, pytest.raises(grpc.RpcError) as refused:
        GRPCInferenceServiceStub(channel).RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name=tiny.NAME))

    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert inference.call(running.server.rest_url, f"/v2/repository/models/{tiny.NAME}/unload", body=b"")[0] == 404
    assert get(running, f"/v2/models/{tiny.NAME}/ready")[0] == 200


@pytest.mark.parametrize(
    "path, status, text",
    [
        ("/", 200, "alive"),
        ("/v2/health/live", 200, "true"),
        ("/v2/health/ready", 200, "true"),
        ("/v1/models", 200, tiny.NAME),
        (f"/v1/models/{tiny.NAME}", 200, "true"),
        (f"/v2/models/{tiny.NAME}", 200, "usage"),
        (f"/v2/models/{tiny.NAME}/ready", 200, "true"),
        (f"/v2/models/{tiny.NAME}/versions/1/ready", 200, "true"),
        (f"/v2/models/{tiny.NAME}/versions/9/ready", 404, "not loaded"),
        ("/v2/models/other/ready", 404, "other"),
        ("/v1/models/other", 404, "other"),
        (f"/v1/models/{tiny.NAME}:predict", 405, ""),
    ],
)
def test_health_and_metadata(running: local.Running, path: str, status: int, text: str):
    got, body = get(running, path)

    assert got == status
    assert text in body


def test_metrics_count_requests_by_status_errors_by_reason_and_rows_by_release(running: local.Running):
    def counted() -> dict[str, float]:
        _, text = get(running, "/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    before = counted()
    inference.predict(running.server.rest_url, tiny.NAME, ROWS)
    inference.call(running.server.rest_url, f"/v1/models/{tiny.NAME}:predict", body=b"[")

    after = counted()
    increase = {
        name: value - before.get(name, 0)
        for name, value in after.items()
        if re.match("perennial_(?!.*(_created|_bucket|_sum))", name) and value != before.get(name, 0)
    }
    assert increase == {
        'perennial_requests_total{model_name="tiny",protocol="v1",status="200"}': 1,
        'perennial_requests_total{model_name="tiny",protocol="v1",status="400"}': 1,
        'perennial_request_errors_total{model_name="tiny",reason="json"}': 1,
        'perennial_rows_total{model_name="tiny",release="1"}': len(ROWS),
        'perennial_out_of_vocabulary_total{feature="plan",model_name="tiny"}': 1,
        'perennial_request_seconds_count{model_name="tiny"}': 1,
    }
    assert after['perennial_release_active{model_name="tiny",release="1"}'] == 1
