"""The shapes of a report add up to the figures that they illustrate."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.measures import fairness, shapes
from components.shared.measures.bootstrap import Interval
from components.shared.measures.metrics import Binary, Multiclass, Regression

ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=300)


def binary(rows: list[tuple[bool, int]], threshold: float = 0.5) -> Binary:
    return Binary(np.array([hit for hit, _ in rows]), np.array([score / 20 for _, score in rows]), threshold)


@given(rows=ROWS)
def test_a_ranking_curve_has_the_precision_and_recall_of_acting_at_its_thresholds(rows):
    curve = shapes.ranking_curve(binary(rows))
    positives = sum(hit for hit, _ in rows)

    if not positives:
        assert curve is None
        return
    assert curve.acted[-1] == 1 and curve.precision[-1] == pytest.approx(curve.positives) == positives / len(rows)
    for acted, precision, recall, cut in zip(curve.acted, curve.precision, curve.recall, curve.thresholds, strict=True):
        chosen = [hit for hit, score in rows if score / 20 >= cut]
        assert acted == pytest.approx(len(chosen) / len(rows))
        assert precision == pytest.approx(sum(chosen) / len(chosen))
        assert recall == pytest.approx(sum(chosen) / positives)


def test_a_ranking_curve_of_many_rows_stays_short_and_keeps_its_end():
    score = np.random.default_rng(1).random(5000)
    curve = shapes.ranking_curve(Binary(score > 0.7, score, 0.5))

    assert 50 <= len(curve.acted) <= 100 and curve.acted[-1] == 1.0


@given(rows=ROWS)
def test_a_score_histogram_counts_every_row_once_in_its_class(rows):
    histogram = shapes.score_histogram(binary(rows), ["no", "yes"])

    assert sum(histogram.counts["yes"]) == sum(hit for hit, _ in rows)
    assert sum(map(sum, histogram.counts.values())) == len(rows)
    assert len(histogram.edges) == len(histogram.counts["no"]) + 1


def test_the_errors_of_a_regression_are_counted_once_and_measured_by_the_size_of_the_label():
    truth = np.arange(100.0)
    fit = shapes.regression_fit(Regression(truth, truth + np.where(truth < 20, 5.0, -1.0)), seed=7)

    assert sum(fit.residual_counts) == 100 and len(fit.labels) == 100
    first, *rest = fit.by_size
    assert (first.low, first.high, first.rows, first.mean_error, first.mae) == (0, 19, 20, 5, 5)
    assert all((size.mean_error, size.mae) == (-1, 1) for size in rest)
    assert sum(size.rows for size in rest) == 80 and all(19 <= size.rows <= 21 for size in rest)


def test_a_perfect_or_constant_regression_has_shapes_too():
    fit = shapes.regression_fit(Regression(np.ones(5), np.ones(5)), seed=7)

    assert sum(fit.residual_counts) == 5 and len(fit.by_size) == 1


def test_columns_are_described_alike_in_every_part_with_what_is_missing_and_rare():
    train = pa.table(
        {"n": [float(n) for n in range(100)], "b": [True, None] * 50, "c": list("abcdefgh") * 12 + ["a"] * 4}
    )
    test = pa.table({"n": [None, 5000.0], "b": [False, False], "c": ["new", None]})
    n, b, c = shapes.column_distributions({"train": train, "test": test}, ["n", "b"], ["c"])

    assert b.edges is None and b.bins[0] == "true"

    assert n.shares["test"][-1] == 0.5 and n.shares["test"][-2] == 0.5
    assert n.shares["train"][-1] == 0 and sum(n.shares["train"]) == pytest.approx(1)
    assert b.shares["train"][-1] == 0.5 and b.shares["test"][-1] == 0
    assert c.bins[0] == "a" and c.bins[-2:] == (shapes.OTHERS, shapes.MISSING)
    assert c.shares["test"][-2:] == (0.5, 0.5)
    assert c.shares["train"][0] == 0.16


def test_a_column_that_training_never_saw_is_missing_in_all():
    empty = pa.table({"n": pa.array([None, None], pa.float64())})
    [n] = shapes.column_distributions({"train": empty, "test": empty}, ["n"], [])

    assert n.bins == (shapes.MISSING,) and n.shares == {"train": (1.0,), "test": (1.0,)}


def test_the_gaps_on_the_rows_themselves_are_those_that_are_reported():
    random = np.random.default_rng(3)
    groups = random.choice(["a", "b", "c"], 400).astype(object)
    ones = np.ones((1, 400))
    two = Binary(random.random(400) < 0.4, random.random(400), 0.5)
    score = random.dirichlet([1, 1, 1], 400)
    three = Multiclass(random.integers(0, 3, 400), score)

    for model, classes in ((two, ["no", "yes"]), (three, ["x", "y", "z"])):
        compared = fairness.compare("group", groups, model, classes, 20)
        measured = fairness.rates(groups, model, classes, 20)(ones)

        assert measured[fairness.PARITY][0] == pytest.approx(compared.demographic_parity_difference)
        assert measured[fairness.ODDS][0] == pytest.approx(compared.equalized_odds_difference)
    assert fairness.rates(groups, two, ["no", "yes"], 20)(ones)["=a"][0] == pytest.approx(
        fairness.compare("group", groups, two, ["no", "yes"], 20).groups["a"].selection_rate
    )


def test_intervals_are_added_to_the_gaps_and_the_groups_they_belong_to():
    groups = np.array(["a", "b"] * 50, dtype=object)
    model = Binary(np.arange(100) % 3 == 0, np.linspace(0, 1, 100), 0.5)
    compared = fairness.compare("group", groups, model, ["no", "yes"], 10)
    intervals = {
        fairness.PARITY: Interval(0.1, 0.05, 0.2),
        fairness.ODDS: Interval(0.2, 0.1, 0.3),
        "=a": Interval(0.5, 0.4, 0.6),
        "=b": Interval(0.4, 0.3, 0.5),
    }
    added = fairness.with_intervals(compared, intervals)

    assert (added.demographic_parity_low, added.demographic_parity_high) == (0.05, 0.2)
    assert (added.equalized_odds_low, added.equalized_odds_high) == (0.1, 0.3)
    assert (added.groups["b"].selection_rate_low, added.groups["b"].selection_rate_high) == (0.3, 0.5)
    assert fairness.with_intervals(compared, {}) == compared
