"""A shadow and the champion are compared on the rows that both answered and whose label is due."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from components.shared.inference_log import pairs
from components.shared.inference_log.segments import SegmentHeader
from components.shared.release.outcomes import PairedOutcomes
from tests.components import made_log
from tests.components.made_log import FIRST, add_labels, request, write

SHADOW = SegmentHeader("made", "2", made_log.HEADER.features, made_log.HEADER.encoded)


def count(folder: Path, task: str = "binary", *, since_day: float = 0, delay_days: float = 0) -> PairedOutcomes:
    given: dict[str, Any] = {"model": "made", "task": task, "champion": "1", "candidate": "2"}
    since, delay = FIRST + timedelta(days=since_day), timedelta(days=delay_days)
    return pairs.count(folder / "log", folder / "labels", since=since, delay=delay, **given)


def both(folder: Path, scores: list[tuple[float, float]], **said: Any) -> None:
    """Log one request a day that the champion and the shadow score."""
    said_by = [[request(f"r{day}", day, score=pair[i], **said) for day, pair in enumerate(scores)] for i in (0, 1)]
    write(folder / "log", said_by[0])
    write(folder / "log", [one | {"shadow": True} for one in said_by[1]], SHADOW, sequence=2)


def test_a_row_is_won_by_whose_decision_alone_is_the_label(tmp_path):
    both(tmp_path, [(0.2, 0.8), (0.8, 0.2), (0.9, 0.8), (0.2, 0.1), (0.2, 0.9)])
    add_labels(tmp_path / "labels", [{"request_id": f"r{day}", "label": "yes"} for day in range(4)])

    assert count(tmp_path) == PairedOutcomes(due=5, wins=1, ties=2, losses=1)


def test_a_revised_label_counts_as_it_is_now(tmp_path):
    both(tmp_path, [(0.2, 0.8)])
    add_labels(tmp_path / "labels", [{"request_id": "r0", "label": "yes"}], 100)
    assert count(tmp_path).wins == 1
    add_labels(tmp_path / "labels", [{"request_id": "r0", "label": "no"}], 101)

    assert count(tmp_path) == PairedOutcomes(due=1, losses=1)


def test_a_regression_is_won_by_the_nearer_score(tmp_path):
    both(tmp_path, [(1.0, 3.0), (1.0, 2.5), (5.0, 5.0), (2.0, 9.0)])
    add_labels(tmp_path / "labels", [{"request_id": f"r{day}", "label": "3.5"} for day in range(4)])

    assert count(tmp_path, "regression") == PairedOutcomes(due=4, wins=2, ties=1, losses=1)


def test_young_rows_and_rows_from_before_the_release_do_not_count(tmp_path):
    both(tmp_path, [(0.2, 0.8)] * 10)
    add_labels(tmp_path / "labels", [{"request_id": f"r{day}", "label": "yes"} for day in range(10)])

    assert count(tmp_path, delay_days=4).wins == 6
    assert count(tmp_path, since_day=2, delay_days=4).wins == 4


def test_labels_by_entity_and_time_are_joined_as_monitoring_joins_them(tmp_path):
    both(tmp_path, [(0.2, 0.8)], entity=["x"], event_day=0)
    add_labels(tmp_path / "labels", [{"entity": "x", "day": 0, "label": "yes"}])

    assert count(tmp_path).wins == 1


@pytest.mark.parametrize("answers", [[], [(0.2, 0.8)]])
def test_without_a_log_or_without_shadows_there_are_no_pairs(tmp_path, answers):
    if answers:
        write(tmp_path / "log", [request("r0", 0)])

    assert count(tmp_path) == PairedOutcomes()


def test_what_another_version_answered_or_shadowed_is_left_out(tmp_path):
    both(tmp_path, [(0.2, 0.8)])
    other = SegmentHeader("made", "3", made_log.HEADER.features, made_log.HEADER.encoded)
    write(tmp_path / "log", [request("r0", 0, score=0.9) | {"shadow": True}], other, sequence=3)
    write(tmp_path / "log", [request("r9", 0, score=0.9)], other, sequence=4)
    add_labels(tmp_path / "labels", [{"request_id": name, "label": "yes"} for name in ("r0", "r9")])

    assert count(tmp_path) == PairedOutcomes(due=1, wins=1)


def test_a_request_that_is_sent_again_and_an_entity_with_many_rows_count_once(tmp_path):
    twice = [request("same", 1, score=0.2), request("same", 1, score=0.2)]
    often = [request(f"x{day}", day, score=0.2, entity=["x"]) for day in range(2, 8)]
    write(tmp_path / "log", [*twice, *often])
    write(
        tmp_path / "log", [one | {"shadow": True, "decision": ["yes"]} for one in [*twice, *often]], SHADOW, sequence=2
    )
    names = ["same", *(f"x{day}" for day in range(2, 8))]
    add_labels(tmp_path / "labels", [{"request_id": name, "label": "yes"} for name in names])

    assert count(tmp_path) == PairedOutcomes(due=2, wins=2)
