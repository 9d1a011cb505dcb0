"""Bounds and sets come on request only, are alike on every protocol, and a level that is impossible is refused."""

import json
import struct
from pathlib import Path
from typing import Any

import grpc
import pytest
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.documents.model_facts import ModelFacts
from pipelines.targets.local import endpoint as local
from serving import openapi
from serving.release import ServedRelease
from tests import documents
from tests.serving import tiny
from tests.serving.four_protocols import PROTOCOLS, SERVED, Question, ServerInProcess
from tests.serving.test_exchange import BAD, OK
from tests.serving.test_open_inference import ask
from tests.serving.test_protocols import grpc_request, post, v2_inputs

ROWS = list(tiny.SAMPLE)
MODEL = f"/v2/models/{tiny.NAME}/infer"
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def server_of(folder: Path, task: str = "binary", **changes: Any) -> ServerInProcess:
    """Return a server whose model has this task."""
    server = ServerInProcess(folder / "other")
    server.served.activate(ServedRelease(tiny.package(folder / task, task=task, **changes), tiny.NAME, "1"))
    return server


@every_protocol
def test_a_regression_is_bounded_in_the_unit_of_its_label(tmp_path: Path, protocol: str):
    answer = getattr(server_of(tmp_path, "regression"), protocol)(Question(ROWS, interval=0.9))

    assert answer.status == OK.get(protocol, 200)
    for row, region in zip(ROWS, answer.regions, strict=True):
        # The 90th of 99 errors, which are 0.01 to 0.99.
        assert region == pytest.approx({"lower": tiny.logit(row) - 0.9, "upper": tiny.logit(row) + 0.9}, abs=1e-5)


@every_protocol
@pytest.mark.parametrize(
    "level, sets",
    [
        # The scores of "yes" are about 0.76, 0.56 and 0.88.
        (0.9, [["no", "yes"], ["no", "yes"], ["no", "yes"]]),
        (0.8, [["no", "yes"], ["no", "yes"], ["yes"]]),
        (0.5, [["yes"], ["yes"], ["yes"]]),
        (0.01, [["yes"], ["yes"], ["yes"]]),
    ],
)
def test_classes_come_as_the_set_of_those_that_fit_well_enough_and_the_likeliest(
    tmp_path: Path, protocol: str, level: float, sets: list[list[str]]
):
    answer = getattr(ServerInProcess(tmp_path), protocol)(Question(ROWS, interval=level))

    assert answer.regions == [{"set": names} for names in sets]


@every_protocol
def test_the_sets_of_several_classes_grow_with_the_level(tmp_path: Path, protocol: str):
    server = server_of(tmp_path, "multiclass")
    row = {"usage": 0.0, "active": False, "plan": "plus"}

    sets = [getattr(server, protocol)(Question([row], interval=level)).regions[0]["set"] for level in (0.3, 0.8, 0.95)]

    assert sets == [["up"], ["up", "flat"], ["up", "flat", "down"]]


@every_protocol
def test_an_answer_without_the_parameter_has_none_and_is_the_same_for_a_package_without_calibration(
    tmp_path: Path, protocol: str
):
    with_regions, without = (server_of(tmp_path / str(has), has_regions=has) for has in (True, False))
    answers = [getattr(server, protocol)(Question(ROWS, header_id="same")) for server in (with_regions, without)]

    assert answers[0] == answers[1]
    assert answers[0].regions is None


@every_protocol
@pytest.mark.parametrize(
    "level, sentence",
    [
        (1.5, "'interval' is 1.5; expected a number above 0 and below 1, such as 0.9."),
        (0, "'interval' is 0; expected a number above 0 and below 1"),
        (1, "'interval' is 1; expected a number above 0 and below 1"),
        (-0.1, "'interval' is -0.1; expected a number above 0 and below 1"),
        ("high", "'interval' is text 'high'; expected a number above 0 and below 1"),
        (0.995, "'interval' is 0.995, but the 99 validation rows of the model allow at most 0.99; lower it, or train"),
    ],
)
def test_a_level_that_is_none_or_needs_more_rows_is_refused(tmp_path: Path, protocol: str, level: Any, sentence: str):
    server = ServerInProcess(tmp_path)
    answer = getattr(server, protocol)(Question(ROWS, interval=level))

    assert answer.status == BAD.get(protocol, 400)
    assert answer.error.startswith(sentence)


@every_protocol
def test_a_package_from_before_intervals_scores_but_says_why_it_has_none(tmp_path: Path, protocol: str):
    server = ServerInProcess(tmp_path)
    folder = tmp_path / "1"
    old = json.loads((folder / ModelFacts.FILE).read_text())
    del old["conformal"]
    (folder / ModelFacts.FILE).write_text(json.dumps(old))
    documents.seal(folder)
    server.served.activate(ServedRelease(folder, tiny.NAME, "1"))

    assert getattr(server, protocol)(Question(ROWS)).status == OK.get(protocol, 200)
    refused = getattr(server, protocol)(Question(ROWS, interval=0.9))
    assert refused.status == BAD.get(protocol, 400)
    assert refused.error.startswith("'interval' is 0.9, but the model was trained before intervals were possible;")


@pytest.mark.parametrize("wrong", [True, [0.9], {"level": 0.9}, "0.9"])
def test_json_takes_a_number_only(running: local.Running, wrong: Any):
    v1 = {"instances": ROWS, "interval": wrong}
    v2 = {"inputs": v2_inputs(ROWS), "parameters": {"interval": wrong}}
    for path, body in ((f"/v1/models/{tiny.NAME}:predict", v1), (MODEL, v2)):
        status, _, answer = ask(running, path, "POST", json.dumps(body).encode())
        assert status == 400 and b"'interval' is " in answer


def test_the_tensor_may_be_requested_alone_and_raw_where_the_request_asks_for_sets(running: local.Running):
    raw = {"name": "set", "parameters": {"binary_data": True}}
    body = {"inputs": v2_inputs(ROWS[:1]), "outputs": [raw], "parameters": {"interval": 0.5}}

    _, headers, content = ask(running, MODEL, "POST", json.dumps(body).encode())
    status, _, refused = ask(running, MODEL, "POST", json.dumps(body | {"parameters": {}}).encode())

    length = int(headers["inference-header-content-length"])
    assert [output["name"] for output in json.loads(content[:length])["outputs"]] == ["set"]
    assert content[length:] == struct.pack("<I", 7) + b'["yes"]'
    assert status == 400 and b"output 'set' is unknown" in refused


def test_grpc_answers_the_requested_tensor_alone(running: local.Running):
    request = grpc_request()
    request.parameters["interval"].string_param = "0.5"
    request.outputs.add(name="set")
    with grpc.insecure_channel(running.server.grpc_address) as channel:
        answer = GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)

    assert [(output.name, output.datatype) for output in answer.outputs] == [("set", "BYTES")]


def test_an_explained_answer_has_sets_too(running: local.Running):
    body = {"instances": ROWS, "interval": 0.5}

    answer = post(running, f"/v1/models/{tiny.NAME}:explain", json.dumps(body).encode())

    assert all(row["set"] == ["yes"] and row["contributions"] for row in answer["predictions"])


def test_the_description_has_the_levels_that_the_release_can_answer(tmp_path: Path):
    described = {
        (task, has): openapi.described(
            ServedRelease(tiny.package(tmp_path / f"{task}{has}", task=task, has_regions=has), tiny.NAME, "1")
        )["components"]["schemas"]
        for task in ("binary", "regression")
        for has in (True, False)
    }

    for schemas in (described["binary", True], described["regression", True]):
        level = schemas["v1_request"]["properties"]["interval"]
        assert (level["exclusiveMinimum"], level["maximum"]) == (0, 0.99)
        assert "interval" not in schemas["v1_request"]["required"]
        assert schemas["v2_request"]["properties"]["parameters"]["properties"]["interval"] == level
    predictions = [described[key]["v1_response"]["properties"]["predictions"]["items"] for key in described]
    assert [sorted(set(each["properties"]) - {*each["required"], *SERVED}) for each in predictions] == [
        ["set"], [], ["lower", "upper"], []
    ]  # fmt: skip
    assert "interval" not in described["binary", False]["v1_request"]["properties"]
