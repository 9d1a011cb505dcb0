"""Money is linear in every cost, break-even follows from it, and the threshold earns the most that a cut can earn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.measures.value import (
    Counts,
    best_threshold,
    break_even_fpr,
    break_even_precision,
    ceiling,
    counts,
    curve,
    gain,
    kept,
    stakes,
    total,
)
from components.shared.project import Value

OFFER = Value(benefit=8, success_rate=0.5, false_positive_cost=2)
COSTS = ("benefit", "false_positive_cost", "action_cost", "false_negative_cost")
money = st.floats(0, 1000).map(lambda amount: round(amount, 2))
values = st.builds(
    Value,
    benefit=money,
    success_rate=st.floats(0, 1),
    false_positive_cost=money,
    action_cost=money,
    false_negative_cost=money,
)
outcomes = st.builds(Counts, *[st.integers(0, 10**6)] * 4)


def test_the_lectures_example():
    found = Counts(true_positives=800, false_positives=0, false_negatives=200, true_negatives=99_000)
    careless = Counts(true_positives=800, false_positives=19_800, false_negatives=200, true_negatives=79_200)

    assert kept(OFFER, found) == 400
    assert total(OFFER, found) == 3200
    assert total(OFFER, careless) == -36_400
    assert break_even_precision(OFFER) == pytest.approx(1 / 3)
    assert break_even_fpr(OFFER, true_positives=800, negatives=99_000) == pytest.approx(0.0162, abs=5e-5)


@given(values, outcomes, st.sampled_from(COSTS), st.floats(0, 3))
def test_money_is_linear_in_each_cost(value, outcome, cost, factor):
    def at(amount: float) -> float:
        return total(value.model_copy(update={cost: amount}), outcome)

    amount = getattr(value, cost)
    expected = at(0) + factor * (at(amount) - at(0))

    assert at(factor * amount) == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(values, st.integers(1, 10**6))
def test_at_break_even_precision_acting_is_worth_what_leaving_alone_is(value, rows):
    precision = break_even_precision(value)
    if precision is None:
        assert total(value, Counts(rows, 0, 0, 0)) <= total(value, Counts(0, 0, rows, 0)) + 1e-6
        return
    right, wrong = precision * rows, (1 - precision) * rows

    assert total(value, Counts(right, wrong, 0, 0)) == pytest.approx(total(value, Counts(0, 0, right, wrong)), abs=1e-3)


def test_a_false_positive_that_costs_nothing_has_no_break_even_rate():
    assert break_even_fpr(Value(benefit=1, false_positive_cost=0), true_positives=1, negatives=9) is None


scored = st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()), min_size=1, max_size=40)


@settings(max_examples=200)
@given(scored, values)
def test_no_other_threshold_gains_more_than_chance_explains(rows, value):
    scores, positive = (np.array(column) for column in zip(*rows, strict=True))
    chosen, cuts = best_threshold(scores, positive, value), curve(scores, positive)
    gains, (won, lost) = cuts.gains(value), stakes(value)
    best = cuts.thresholds[np.flatnonzero(gains == gains.max())]
    achieved = gain(value, counts(scores, positive, chosen))

    assert gains.max() <= ceiling(value, int(positive.sum())) + 1e-6
    between = [(scores >= min(cut, chosen)) & (scores < max(cut, chosen)) for cut in best]
    errors = [np.sqrt((rows & positive).sum() * won**2 + (rows & ~positive).sum() * lost**2) for rows in between]
    assert gains.max() <= achieved + max(errors) + 1e-6


@given(scored, values)
def test_the_curve_says_what_each_of_its_thresholds_gains(rows, value):
    scores, positive = (np.array(column) for column in zip(*rows, strict=True))
    cuts = curve(scores, positive)
    gains = [gain(value, counts(scores, positive, cut)) for cut in cuts.thresholds]

    assert cuts.gains(value) == pytest.approx(gains, rel=1e-9, abs=1e-6)


def calibrated(rows: int, seed: int, low: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.uniform(low, 1.0, rows)
    return scores, random.random(rows) < scores


@pytest.mark.parametrize("seed", range(5))
def test_without_a_value_calibrated_scores_are_cut_in_the_middle(seed):
    assert best_threshold(*calibrated(1000, seed), None) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_a_value_moves_the_threshold_of_calibrated_scores_to_the_break_even(seed):
    offer = Value(benefit=8, success_rate=0.5, false_positive_cost=2)

    assert best_threshold(*calibrated(1000, seed), offer) == pytest.approx(1 / 3, abs=0.08)


def test_scores_that_are_far_too_high_are_cut_where_the_errors_are_fewest():
    scores, positive = calibrated(2000, seed=1)

    # A cut at 0.5 of these would answer 75 % with yes.
    assert best_threshold(np.sqrt(scores), positive, None) == pytest.approx(np.sqrt(0.5), abs=0.08)


@pytest.mark.parametrize("positives", [1, 2, 39])
def test_without_a_value_neither_every_row_is_answered_positive_nor_none(positives):
    scores = np.linspace(0.01, 0.2, 40) if positives < 20 else np.linspace(0.8, 0.99, 40)
    positive = np.zeros(40, bool)
    positive[np.random.default_rng(3).choice(40, positives, replace=False)] = True

    acted = scores >= best_threshold(scores, positive, None)

    assert 0 < acted.sum() < 40


def test_when_nothing_pays_nobody_is_acted_on():
    scores = np.array([1.0, 0.5])

    assert best_threshold(scores, np.array([False, True]), Value(benefit=0, false_positive_cost=1)) > scores.max()
