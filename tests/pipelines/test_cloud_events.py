"""What KServe's logger sends of other people's models becomes rows of the log, in any order, and delays nobody."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from starlette.testclient import TestClient

from components.shared.errors import InputError
from components.shared.inference_log import compaction, segments
from serving.collector import cloud_events
from serving.collector.app import app
from serving.collector.cloud_events import InferenceEvent, Pairing
from serving.collector.inbox import Inbox
from serving.collector.intake import Intake

NOW_NS = 1_767_225_600_000_000_000
ROWS = [{"age": 3, "plan": "a", "new": True}, {"age": None, "plan": "b", "new": False}]
V1 = ({"instances": ROWS}, {"predictions": [0.25, 0.75]})
V2 = (
    {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]},
    {"outputs": [{"name": "y", "shape": [2, 3], "datatype": "FP32", "data": [0.1, 0.2, 0.7, 0.5, 0.3, 0.2]}]},
)


def event(kind: str, body: Any, event_id: str = "r1", at_ns: int = NOW_NS, model: str = "iris") -> InferenceEvent:
    return InferenceEvent(event_id, kind, model, at_ns, json.dumps(body).encode())


def headers(kind: str, event_id: str, model: str = "iris") -> dict[str, str]:
    return {
        "ce-id": event_id, "ce-type": f"org.kubeflow.serving.inference.{kind}", "ce-specversion": "1.0",
        "ce-source": "http://localhost:9081/", "ce-inferenceservicename": model, "ce-namespace": "theirs",
        "content-type": "application/json",
    }  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    compaction.compact(folder)
    return [row for path in compaction.files(folder) for row in parquet.read_table(path).to_pylist()]


@pytest.mark.parametrize("first", ["request", "response"])
def test_both_halves_make_one_request_whichever_comes_first(tmp_path, first):
    intake = Intake(Inbox(tmp_path))
    client = TestClient(app(Inbox(tmp_path), intake))
    halves = {"request": V1[0], "response": V1[1]}
    for kind in (first, *(kind for kind in halves if kind != first)):
        assert client.post("/", json=halves[kind], headers=headers(kind, "r1")).status_code == 202
    intake.close()
    found = rows(tmp_path)

    assert [(row["request_id"], row["row"], row["model"], row["score"]) for row in found] == [
        ("r1", 0, "iris", 0.25), ("r1", 1, "iris", 0.75),
    ]  # fmt: skip
    assert [(row["received.age"], row["received.plan"], row["received.new"]) for row in found] == [
        (3.0, "a", True), (None, "b", False),
    ]  # fmt: skip


def test_a_matrix_of_numbers_has_a_column_per_position_and_several_scores_stay_together():
    made = cloud_events.inference(event("request", V2[0]), event("response", V2[1]))
    line = json.loads(made.line)

    assert line["received"] == {"x_0": [1, 3], "x_1": [2, 4]}
    assert line["score"] == [[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]] and made.header.classes == ("0", "1", "2")


def test_texts_are_decisions(tmp_path):
    made = cloud_events.inference(
        event("request", {"instances": [[5.1, "x"], [4.9, "y"]]}), event("response", {"predictions": ["yes", "no"]})
    )
    Inbox(tmp_path).take(f"{NOW_NS:020d}-a.jsonl", made.header.line() + made.line)
    found = rows(tmp_path)

    assert [(row["decision"], row["score"], row["received.feature_1"]) for row in found] == [
        ("yes", None, "x"), ("no", None, "y"),
    ]  # fmt: skip


@given(order=st.permutations([(number, kind) for number in range(4) for kind in ("request", "response")]))
@settings(max_examples=50, deadline=None)
def test_every_order_of_the_halves_makes_every_request_once(order):
    pairing = Pairing()
    bodies = dict(zip(("request", "response"), V1, strict=True))
    made = [pairing.add(event(kind, bodies[kind], f"r{number}")) for number, kind in order]
    lines = [json.loads(one.line)["id"] for one in made if one is not None]

    assert sorted(lines) == ["r0", "r1", "r2", "r3"] and pairing.unpaired == 0


def test_a_half_whose_other_half_does_not_come_is_dropped_and_counted():
    pairing = Pairing()
    pairing.add(event("request", V1[0], "lonely"))
    pairing.add(event("request", V1[0], "later", at_ns=NOW_NS + 200 * 10**9))

    assert pairing.unpaired == 1
    assert pairing.add(event("response", V1[1], "lonely", at_ns=NOW_NS + 201 * 10**9)) is None


@pytest.mark.parametrize(
    ("request_body", "response_body", "says"),
    [
        ([], V1[1], "is no JSON object"),
        ({}, V1[1], "there is no 'inputs' with tensors"),
        ({"instances": []}, V1[1], "'instances' is empty"),
        (V1[0], {"predictions": [1]}, r"differ in their rows: \[1, 2\]"),
        (V1[0], {"error": "no"}, "has no predictions"),
        (
            {"inputs": [{"name": "x", "shape": [1], "parameters": {}}]},
            V2[1],
            "has no data in JSON",
        ),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(request_body, response_body, says):
    with pytest.raises(InputError, match=says):
        cloud_events.inference(event("request", request_body), event("response", response_body))


def test_another_event_is_refused_and_an_unreadable_one_does_not_stop_the_others(tmp_path):
    intake = Intake(Inbox(tmp_path))
    client = TestClient(app(Inbox(tmp_path), intake))
    other = client.post("/", json={}, headers={"ce-type": "com.example.other", "ce-id": "1"})
    for kind, body in (("request", "nothing"), ("response", "nothing")):
        client.post("/", json=body, headers=headers(kind, "bad"))
    for kind, body in zip(("request", "response"), V1, strict=True):
        client.post("/", json=body, headers=headers(kind, "good"))
    intake.close()

    assert other.status_code == 400 and "this is no event of KServe's logger" in other.json()["error"]
    assert {row["request_id"] for row in rows(tmp_path)} == {"good"}


def test_an_event_is_answered_before_it_is_written(tmp_path):
    """All are answered while the disk takes nothing; what was taken is written once it does."""
    disk = threading.Event()

    class StuckInbox(Inbox):
        def take(self, name: str, content: bytes) -> bool:
            disk.wait(60)
            return super().take(name, content)

    intake = Intake(StuckInbox(tmp_path))
    client = TestClient(app(Inbox(tmp_path), intake))
    for number in range(50):
        for kind, body in zip(("request", "response"), V1, strict=True):
            assert client.post("/", json=body, headers=headers(kind, f"r{number}")).status_code == 202

    assert list(segments.wal(tmp_path).glob("*.jsonl")) == []
    disk.set()
    intake.close()
    assert len({row["request_id"] for row in rows(tmp_path)}) == 50
