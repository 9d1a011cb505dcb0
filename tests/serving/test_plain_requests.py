"""The quick way through a plain request and the thorough one give the same answer, also to every wrong request."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving import v2
from serving.exchange import Exchange
from serving.release import ServedRelease
from serving.served import Served
from serving.v1 import V1Body
from serving.v2 import V2Body
from tests.serving import tiny


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Exchange:
    served = Served()
    package = tiny.package(tmp_path_factory.mktemp("plain") / "model")
    served.activate(ServedRelease(package, tiny.NAME, "1"))
    return Exchange(served, generate_id=lambda: "id")


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "usage": st.none() | st.integers(-5, 5) | st.floats(width=32) | st.just(1e39) | st.booleans() | st.just("1"),
    "active": st.booleans() | st.none() | st.just(1),
    "plan": st.sampled_from(["basic", "", " basic ", "new", "Zu\u0308rich"]) | st.none() | st.just(3) | st.just([]),
}
RIGHT: dict[str, st.SearchStrategy[Any]] = {
    "usage": st.none() | st.floats(-1e30, 1e30),
    "active": st.booleans(),
    "plan": st.sampled_from(["basic", "", "new"]),
}
KINDS = {"usage": ["FP64", "FP32", "INT32"], "active": ["BOOL", "FP32"], "plan": ["BYTES", "BOOL"]}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Requests that are right, or wrong in a few places."""
    rows = draw(st.integers(0, 3))
    values = draw(st.sampled_from([RIGHT, RIGHT, VALUES]))
    inputs = []
    for name in draw(st.permutations(sorted(values))):
        tensor = {
            "name": name,
            "datatype": KINDS[name][draw(st.sampled_from([0, 0, 0, 0, 1]))],
            "shape": draw(
                st.sampled_from([[rows], [rows], [rows], [rows], [rows, 1], [float(rows)], [True], rows, []])
            ),
            "data": draw(st.lists(values[name], min_size=rows, max_size=rows)),
        }
        for spoilt in draw(st.lists(st.sampled_from(["name", "datatype", "shape", "data"]), max_size=1)):
            if draw(st.integers(0, 5)) == 0:
                tensor[spoilt] = draw(st.sampled_from([None, [], {}, 7, "x", [1, 2], True]))
        inputs.append(tensor)
    if draw(st.integers(0, 9)) == 0:
        inputs = inputs[: draw(st.integers(0, 2))]
    return {"inputs": inputs}


def answer(exchange: Exchange, body: V2Body | V1Body) -> tuple[int, Any]:
    reply = exchange.answer_now(exchange.head("v2", tiny.NAME), lambda: body)
    return reply.status, reply.content.body if reply.content else (reply.refusal and reply.refusal.sentence)


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(document=documents())
def test_a_plain_request_gets_the_answer_that_a_closer_look_gives(exchange: Exchange, document: dict[str, Any]):
    body = json.dumps(document).encode()
    with pytest.MonkeyPatch.context() as patch:
        quick = answer(exchange, V2Body(body)) if not has_nan(document) else (400, "")
        patch.setattr(v2, "_plain", lambda document, signature: None)
        thorough = answer(exchange, V2Body(body)) if not has_nan(document) else (400, "")

    assert quick == thorough


def has_nan(document: dict[str, Any]) -> bool:
    """JSON has no NaN, so such a body is refused before anybody looks at its tensors."""
    return "NaN" in json.dumps(document) or "Infinity" in json.dumps(document)


ROW = st.fixed_dictionaries({}, optional=VALUES | {"other": st.just(1)})


@settings(max_examples=500, deadline=None, derandomize=True)
@given(rows=st.lists(ROW | st.fixed_dictionaries(RIGHT) | st.sampled_from([[], "row", None, 3]), max_size=4))
def test_rows_are_refused_for_the_first_one_that_is_wrong(exchange: Exchange, rows: list[Any]):
    if has_nan({"rows": rows}):
        return
    status, said = answer(exchange, V1Body(json.dumps({"instances": rows}).encode()))
    names = set(RIGHT)
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, dict) or set(row) != names), None)

    if wrong is not None:
        assert status == 400 and f"row {wrong}" in said
    elif rows and all(valid(row) for row in rows):
        assert status == 200 and len(json.loads(said)["predictions"]) == len(rows)
    else:
        assert status in (400, 413)


def valid(row: dict[str, Any]) -> bool:
    return (
        (row["usage"] is None or (type(row["usage"]) in (int, float) and abs(row["usage"]) < 3e38))
        and type(row["active"]) is bool
        and (row["plan"] is None or type(row["plan"]) is str)
    )


def test_the_sample_is_plain(exchange: Exchange, tmp_path: Path):
    release = exchange.served.loaded["1"]
    inputs = [
        {"name": name, "datatype": KINDS[name][0], "shape": [3], "data": [row[name] for row in tiny.SAMPLE]}
        for name in release.signature.names
    ]

    assert v2._plain({"inputs": inputs}, release.signature) is not None
