"""A declared share of decisions is answered with the other class, on every protocol, and the log says so."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.inference import PROBE
from serving.exploration import Exploration
from serving.inference_log import LineWriter
from tests.serving import tiny
from tests.serving.four_protocols import PROTOCOLS, Question, ServerInProcess

ROWS = [*tiny.SAMPLE] * 50
OWN = ["yes" if tiny.score(row) >= tiny.THRESHOLD else "no" for row in ROWS]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_share_of_one_decision_is_answered_otherwise_and_logged(tmp_path: Path, protocol: str):
    server = ServerInProcess(tmp_path)
    server.exchange.exploration = Exploration({"no": 0.3})
    server.exchange.observers.add(server.seen.append)

    answer = getattr(server, protocol)(Question(ROWS))

    assert server.exchange.observers.drained(5)
    reversed_rows = [own == "no" and answered == "yes" for own, answered in zip(OWN, answer.decisions, strict=True)]
    kept = [own == answered for own, answered in zip(OWN, answer.decisions, strict=True)]
    assert np.mean(reversed_rows) == pytest.approx(0.3 * OWN.count("no") / len(OWN), abs=0.12)
    assert all(a or b for a, b in zip(reversed_rows, kept, strict=True))
    logged = json.loads(LineWriter(server.seen[0].release, ()).line(server.seen[0]))
    assert (logged["decision"], logged["action"]) == (OWN, answer.decisions)
    expected = [0.3 if r else 0.7 if own == "no" else 1.0 for r, own in zip(reversed_rows, OWN, strict=True)]
    assert logged["propensity"] == pytest.approx(expected)


def test_without_exploration_the_log_has_neither_action_nor_propensity(tmp_path: Path):
    server = ServerInProcess(tmp_path)
    server.exchange.observers.add(server.seen.append)

    answer = server.v1(Question(ROWS))

    assert server.exchange.observers.drained(5)
    assert answer.decisions == OWN
    assert not {"action", "propensity"} & set(json.loads(LineWriter(server.seen[0].release, ()).line(server.seen[0])))


def test_a_release_is_tested_with_its_own_decisions():
    assert Exploration({"no": 0.5}).explore(f"{PROBE}1", ["no"] * 99, ["no", "yes"]) is None


@pytest.mark.parametrize("classes", [["a", "b", "c"], []])
def test_only_a_decision_between_two_classes_is_explored(classes):
    assert Exploration({"a": 0.5}).explore("id", ["a"] * 9, classes) is None


@given(st.text(max_size=20), st.integers(0, 30), st.floats(0.01, 0.5))
def test_equal_requests_get_equal_answers_and_probabilities_that_fit_them(request_id, rows, share):
    decisions = ["no" if zlib.crc32(bytes([row])) % 2 else "yes" for row in range(rows)]
    explored, again = (Exploration({"no": share}).explore(request_id, decisions, ["no", "yes"]) for _ in range(2))

    if request_id.startswith(PROBE):
        assert explored is None
        return
    assert explored == again and explored is not None
    for own, answered, propensity in zip(decisions, *explored, strict=True):
        assert propensity == (1.0 if own == "yes" else share if answered == "yes" else 1 - share)


def test_the_share_that_is_reversed_is_the_declared_one():
    requests = [Exploration({"no": 0.05}).explore(f"r{n}", ["no"], ["no", "yes"]) for n in range(20_000)]

    assert np.mean([explored.answered == ["yes"] for explored in requests if explored]) == pytest.approx(
        0.05, abs=0.005
    )
