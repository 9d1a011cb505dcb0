"""Contributions add up to the margin, are the Shapley values, and come over V1 and V2 without counting as traffic."""

import http.client
import itertools
import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.documents.package_reference import PackageReference
from components.shared.package.contributions import Contributions, Explainer
from components.shared.package.model_package import ModelPackage
from pipelines.targets.local import endpoint as local
from serving.connection import ConnectionLimits
from serving.exchange import MOST_EXPLAINED
from serving.release import ServedRelease
from tests import documents
from tests.serving import in_thread, tiny
from tests.serving.clients import shap_values
from tests.serving.four_protocols import ServerInProcess
from tests.serving.test_open_inference import ask
from tests.serving.test_protocols import ROWS, get, grpc_request, post, v2_inputs
from tests.serving.test_rollout import PYTHON, ROOT

V1, V2 = f"/v1/models/{tiny.NAME}:explain", f"/v2/models/{tiny.NAME}/explain"
ROW = tiny.SAMPLE[0]


def margin(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
    return shap_values.margin(tensors["numeric"].astype(np.float64)).astype(np.float32)


def rows_of(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 5)).astype(np.float32)


def explainer(reference: np.ndarray, *, is_additive: bool = False) -> Explainer:
    return Explainer(margin, {"numeric": reference}, is_additive)


def exact(row: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the Shapley values by going through every order of the features."""
    values, orders = np.zeros(5), list(itertools.permutations(range(5)))
    for order in orders:
        mixed = reference.copy()
        before = margin({"numeric": mixed}).astype(np.float64)
        for feature in order:
            mixed[:, feature] = row[feature]
            after = margin({"numeric": mixed}).astype(np.float64)
            values[feature] += (after - before).mean()
            before = after
    return values / len(orders)


def flat(explained: Contributions) -> tuple[np.ndarray, np.ndarray]:
    return explained.by_feature[:, 0], explained.error[:, 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40))
def test_contributions_and_base_add_up_to_the_margin(seed, references):
    row = rows_of(1, seed)
    explained = explainer(rows_of(references, seed + 1)).explain({"numeric": row}, 0)

    assert explained.by_feature.sum() + explained.base[0] == pytest.approx(explained.margin[0], abs=1e-6)
    assert explained.margin[0] == pytest.approx(float(margin({"numeric": row})[0]), abs=1e-6)


def test_what_three_features_do_together_is_within_the_stated_error():
    distances = []
    for seed in range(60):
        row, reference = rows_of(1, seed), rows_of(32, seed + 1000)
        values, error = flat(explainer(reference).explain({"numeric": row}, 0))
        distances.extend((values - exact(row[0], reference)) / np.maximum(error, 1e-9))
    meeting = np.reshape(distances, (60, 5))[:, 2:4]

    # A standard error: about two thirds of the values lie within one, and hardly any beyond four.
    assert 0.55 <= (np.abs(meeting) <= 1).mean() <= 0.85
    assert np.abs(meeting).max() < 6


def test_where_no_more_than_two_features_meet_nothing_is_left_to_chance(monkeypatch):
    reference, row = rows_of(8, 3), rows_of(1, 4)
    monkeypatch.setattr(shap_values, "margin", lambda x: x[:, 0] * x[:, 1] - x[:, 2] * x[:, 3] + x[:, 4])

    values, error = flat(explainer(reference).explain({"numeric": row}, 0))

    assert values == pytest.approx(exact(row[0], reference), abs=1e-5)
    assert error.max() < 1e-6


def test_a_sum_of_functions_of_one_feature_is_explained_exactly_in_one_order(monkeypatch):
    reference, row, calls = rows_of(8, 5), rows_of(1, 6), []

    def additive(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return np.abs(x).sum(axis=1) + np.sin(x[:, 1])

    monkeypatch.setattr(shap_values, "margin", additive)
    explained = explainer(reference, is_additive=True).explain({"numeric": row}, 0)

    assert calls == [9 * 6]
    assert explained.by_feature[:, 0] == pytest.approx(exact(row[0], reference), abs=1e-5)
    assert not explained.error.any()
    assert explained.base[0] == pytest.approx(margin({"numeric": reference}).mean(), abs=1e-6)


def test_a_feature_that_the_model_ignores_contributes_nothing(monkeypatch):
    monkeypatch.setattr(shap_values, "margin", lambda x: x[:, 0] * x[:, 1] * x[:, 2])

    values, _ = flat(explainer(rows_of(32, 7)).explain({"numeric": rows_of(1, 8)}, 0))

    assert values[3] == values[4] == 0 != values[0]


def test_many_features_are_explained_with_fewer_reference_rows():
    calls = []

    def wide(tensors: Mapping[str, np.ndarray]) -> np.ndarray:
        calls.append(len(tensors["numeric"]))
        return tensors["numeric"].prod(axis=1)

    reference = np.ones((32, 300), np.float32)
    Explainer(wide, {"numeric": reference}, False).explain({"numeric": reference[:1] * 1.01}, 0)

    assert calls == [4 * 4 * 301]


def test_the_shap_package_says_the_same():
    python = os.environ.get("PERENNIAL_SHAP", "")
    if not python:
        pytest.skip("PERENNIAL_SHAP names no interpreter with the shap package")
    reference, rows = rows_of(32, 11), rows_of(6, 12)
    asked = json.dumps({"reference": reference.tolist(), "rows": rows.tolist()})
    published = json.loads(subprocess.check_output([python, shap_values.__file__], input=asked, text=True))

    for row, (values, base) in enumerate(zip(published["values"], np.ravel(published["base"]).tolist(), strict=True)):
        assert values == pytest.approx(exact(rows[row], reference), abs=1e-5)
        explained = explainer(reference).explain({"numeric": rows}, row)
        assert (np.abs(explained.by_feature[:, 0] - values) <= 5 * explained.error[:, 0] + 1e-5).all()
        assert explained.base[0] == pytest.approx(base, abs=1e-5)


def contributions(row: dict[str, Any]) -> dict[str, float]:
    """Return what the tiny model's features contribute, from its formula."""
    numbers, plans = tiny.REFERENCE
    usages, actives = zip(*numbers, strict=True)
    return {
        "usage": 0.1 * (row["usage"] or 0) - 0.1 * sum(value or 0 for value in usages) / 3,
        "active": 2.0 * row["active"] - 2.0 * sum(value or 0 for value in actives) / 3,
        "plan": tiny.PLANS.get(row["plan"] or "", tiny.UNSEEN) - sum(tiny.PLANS[plan] for (plan,) in plans) / 3,
    }


def test_v1_explains_each_row_beside_its_score(running):
    rows = [*tiny.SAMPLE, {"usage": 3, "active": False, "plan": "東京"}]

    answer = post(running, V1, json.dumps({"instances": rows}).encode())

    for row, prediction in zip(rows, answer["predictions"], strict=True):
        assert prediction["score"] == pytest.approx(tiny.score(row), abs=1e-5)
        assert prediction["margin"] == pytest.approx(tiny.logit(row), abs=1e-5)
        assert prediction["contributions"] == pytest.approx(contributions(row), abs=1e-5)
        assert prediction["base"] + sum(prediction["contributions"].values()) == pytest.approx(prediction["margin"])
        assert max(prediction["contribution_errors"].values()) < 1e-6
    assert answer["predictions"][3]["out_of_vocabulary"] == ["plan"]


def test_v2_answers_the_same_as_tensors_whose_columns_are_the_features(running):
    rows = list(tiny.SAMPLE)
    predictions = post(running, V1, json.dumps({"instances": rows}).encode())["predictions"]

    body: dict[str, Any] = {"inputs": v2_inputs(rows)}
    answer = post(running, V2, json.dumps(body).encode())
    chosen = post(running, V2, json.dumps(body | {"outputs": [{"name": "contributions"}]}).encode())

    tensors = {output["name"]: output for output in answer["outputs"]}
    assert list(tensors) == [
        "score", "decision", "out_of_vocabulary", "margin", "base", "contributions", "contribution_errors"
    ]  # fmt: skip
    columns = json.loads(tensors["contributions"]["parameters"]["features"])
    values = np.reshape(tensors["contributions"]["data"], tensors["contributions"]["shape"])
    assert [dict(zip(columns, row, strict=True)) for row in values.tolist()] == [
        row["contributions"] for row in predictions
    ]
    assert tensors["margin"]["data"] == [row["margin"] for row in predictions]
    assert [output["name"] for output in chosen["outputs"]] == ["contributions"]
    assert chosen["outputs"][0]["datatype"] == "FP64"


def test_grpc_explains_on_request_as_v2_does_and_counts_no_traffic(running):
    body = {"inputs": v2_inputs(ROWS)}
    wanted = {output["name"]: output for output in post(running, V2, json.dumps(body).encode())["outputs"]}
    rows = f'perennial_rows_total{{model_name="{tiny.NAME}"'
    before = [line for line in get(running, "/metrics")[1].splitlines() if line.startswith(rows)]

    with grpc.insecure_channel(running.server.grpc_address) as channel:
        infer = GRPCInferenceServiceStub(channel).ModelInfer
        request = grpc_request()
        request.parameters["explain"].bool_param = True
        answer = infer(request)
        request.outputs.add(name="contributions")
        alone = infer(request)
        request.parameters["explain"].bool_param = False
        with pytest.raises(grpc.RpcError, match="output 'contributions' is unknown"):
            infer(request)
        request.parameters["explain"].string_param = "yes"
        with pytest.raises(grpc.RpcError, match="parameter 'explain' is neither true nor false") as refused:
            infer(request)

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert [output.name for output in answer.outputs] == list(wanted)
    for output in answer.outputs[3:]:
        assert output.datatype == "FP64" and list(output.shape) == wanted[output.name]["shape"]
        assert list(output.contents.fp64_contents) == pytest.approx(wanted[output.name]["data"])
    [contributions_] = alone.outputs
    assert contributions_.parameters["features"].string_param == wanted["contributions"]["parameters"]["features"]
    assert [line for line in get(running, "/metrics")[1].splitlines() if line.startswith(rows)] == before


def test_only_an_explanation_has_its_tensors(running):
    body = {"inputs": v2_inputs([ROW]), "outputs": [{"name": "margin"}]}

    status, _, answer = ask(running, f"/v2/models/{tiny.NAME}/infer", "POST", json.dumps(body).encode())

    assert status == 400 and b"output 'margin' is unknown" in answer


def test_the_classes_of_a_multiclass_model_have_a_contribution_each(tmp_path):
    package = ModelPackage.open(tiny.package(tmp_path / "model", task="multiclass"))
    tensors = {"numeric": np.array([[1.5, 1.0]], np.float32), "categorical": np.array([["basic"]], object)}
    explained = package.explainer().explain(tensors, 0)

    wanted = np.array([contributions(ROW)[name] for name in ("usage", "active", "plan")])
    assert explained.by_feature == pytest.approx(np.outer(wanted, [1, 0, -1]), abs=1e-5)
    assert explained.margin == pytest.approx(tiny.logit(ROW) * np.array([1, 0, -1]), abs=1e-5)


def test_more_rows_than_are_explained_at_once_are_refused(running):
    few = post(running, V1, json.dumps({"instances": [ROW] * MOST_EXPLAINED}).encode())
    status, _, answer = ask(running, V1, "POST", json.dumps({"instances": [ROW] * (MOST_EXPLAINED + 1)}).encode())

    assert len(few["predictions"]) == MOST_EXPLAINED
    assert status == 413 and b"the request has 17 rows; at most 16 are explained at once" in answer


def test_a_question_about_a_score_is_no_traffic(running):
    def counted() -> dict[str, float]:
        lines = [line.rsplit(" ", 1) for line in get(running, "/metrics")[1].splitlines() if tiny.NAME in line]
        return {name: float(value) for name, value in lines}

    before = counted()
    post(running, V1, json.dumps({"instances": [ROW]}).encode())
    after = counted()

    changed = {name.partition("{")[0] for name, value in after.items() if value != before.get(name, 0.0)}
    assert "perennial_requests_total" in changed
    assert "perennial_explanation_seconds_count" in changed
    assert not changed & {"perennial_rows_total", "perennial_request_seconds_count"}


def test_a_package_from_before_explanations_scores_but_says_why_it_cannot_explain(tmp_path):
    server = ServerInProcess(tmp_path)
    PackageReference.at(tmp_path / "1").unlink()
    documents.seal(tmp_path / "1")
    server.served.activate(ServedRelease(tmp_path / "1", tiny.NAME, "1"))
    body = json.dumps({"instances": [ROW]}).encode()

    with in_thread.rest(server.exchange, ConnectionLimits()) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", V1, body)
        explained = connection.getresponse()
        sentence = json.loads(explained.read())["error"]
        connection.request("POST", V1.replace("explain", "predict"), body)
        scored = connection.getresponse()

    assert explained.status == 404 and "release '1' cannot be explained: it was trained before" in sentence
    assert scored.status == 200


def test_values_too_extreme_for_a_score_are_refused_with_their_row(tmp_path):
    endpoint = tiny.released(tmp_path, fault="nan")
    with local.start(endpoint, python=PYTHON, source=ROOT) as server:
        body = json.dumps({"instances": [ROW, ROW | {"usage": 60}]}).encode()
        status, _, answer = ask(server, V1, "POST", body)

    assert status == 400 and b"row 1" in answer
