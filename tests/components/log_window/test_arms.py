"""The two groups of an A/B test: each entity counts once, for the version that answered it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from components.shared.inference_log import arms
from components.shared.inference_log.segments import SegmentHeader
from components.shared.release.trial import Arms
from tests.components import made_log
from tests.components.made_log import FIRST, add_labels, request, write

SECOND = SegmentHeader("made", "2", made_log.HEADER.features, made_log.HEADER.encoded)


def count(
    folder: Path, task: Any = "binary", *, since_day: float = 0, delay_days: float = 0, reach_days: float = 1
) -> Arms:
    since, delay = FIRST + timedelta(days=since_day), timedelta(days=delay_days)
    versions: dict[str, Any] = {"champion": "1", "candidate": "2"}
    spans: dict[str, Any] = {"delay": delay, "reach": timedelta(days=reach_days)}
    return arms.count(folder / "log", folder / "store", model="made", task=task, since=since, **versions, **spans)


def answered(folder: Path, one: list[dict[str, Any]], other: list[dict[str, Any]]) -> None:
    write(folder / "log", one)
    write(folder / "log", other, SECOND, sequence=2)


def by_request(folder: Path, labels: dict[str, str]) -> None:
    add_labels(folder / "store", [{"request_id": name, "label": label} for name, label in labels.items()])


def test_the_share_of_right_decisions_is_compared_entity_by_entity(tmp_path):
    answered(
        tmp_path,
        [request("a", 1, entity=["x"]), request("b", 2, entity=["x"]), request("c", 3, entity=["y"])],
        [request("d", 1, entity=["z"], score=0.9), request("e", 2, entity=["w"], score=0.9)],
    )
    by_request(tmp_path, {"a": "no", "b": "yes", "c": "no", "d": "yes", "e": "no"})

    counted = count(tmp_path)

    # x was right in one of two, y in its only one; z was right and w was not.
    assert (counted.champion.entities, counted.champion.mean) == (2, pytest.approx(0.75))
    assert (counted.candidate.entities, counted.candidate.mean) == (2, pytest.approx(0.5))
    assert counted.candidate.variance == pytest.approx(0.5)


def test_an_entity_that_both_versions_answered_counts_for_neither(tmp_path):
    answered(tmp_path, [request("a", 1, entity=["x"])], [request("b", 2, entity=["x"]), request("c", 2, entity=["y"])])
    by_request(tmp_path, {"a": "no", "b": "no", "c": "no"})

    counted = count(tmp_path)

    assert (counted.champion.entities, counted.candidate.entities, counted.crossed) == (0, 1, 1)


def test_figures_are_taken_as_they_are_and_a_request_without_entity_is_its_own(tmp_path):
    answered(tmp_path, [request("a", 1), request("b", 1)], [request("c", 1)])
    by_request(tmp_path, {"a": "10.5", "b": "0", "c": "-3"})

    counted = count(tmp_path, None)

    assert (counted.champion.entities, counted.champion.mean) == (2, 5.25)
    assert (counted.candidate.mean, counted.candidate.variance) == (-3, 0)


def test_a_regression_is_compared_by_its_error_and_less_is_better(tmp_path):
    answered(tmp_path, [request("a", 1, score=2.0)], [request("b", 1, score=0.5)])
    by_request(tmp_path, {"a": "1", "b": "1"})

    counted = count(tmp_path, "regression")

    assert (counted.champion.mean, counted.candidate.mean, counted.difference) == (-1.0, -0.5, 0.5)


def test_only_due_rows_since_the_release_with_a_known_outcome_count(tmp_path):
    answered(tmp_path, [request(f"a{day}", day) for day in range(10)], [request("b", 5)])
    by_request(tmp_path, {f"a{day}": "no" for day in range(8)})

    assert count(tmp_path).champion.entities == 8
    assert count(tmp_path, since_day=2).champion.entities == 6
    assert count(tmp_path, since_day=2, delay_days=5).champion.entities == 3
    assert count(tmp_path).candidate.entities == 0


def test_an_empty_log_has_no_groups(tmp_path):
    assert count(tmp_path) == Arms()


def test_a_figure_of_days_later_belongs_to_the_answer_before_it_and_infinite_ones_to_none(tmp_path):
    answered(tmp_path, [request("a", 1, entity=["x"], event_day=1)], [request("b", 1, entity=["y"], event_day=1)])
    sold = [{"entity": "x", "day": 4, "label": "20"}, {"entity": "y", "day": 4, "label": "inf"}]
    add_labels(tmp_path / "store", sold)

    assert count(tmp_path, None).champion.entities == 0
    counted = count(tmp_path, None, reach_days=1000)
    assert (counted.champion.mean, counted.candidate.entities) == (20, 0)
