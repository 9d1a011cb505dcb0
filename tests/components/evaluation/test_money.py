"""Value in money: the lecture's numbers, and the law behind them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.measures import value_report
from components.shared.measures.metrics import Binary, scorecard
from components.shared.project import Value

OFFER = Value(benefit=8, success_rate=0.5, false_positive_cost=2)


def answers(found: int, missed: int, false_alarms: int, left_alone: int) -> Binary:
    truth = np.repeat([1, 1, 0, 0], [found, missed, false_alarms, left_alone])
    score = np.repeat([0.9, 0.1, 0.9, 0.1], [found, missed, false_alarms, left_alone])
    card = scorecard("binary", truth, score, 0.5)
    assert isinstance(card, Binary)
    return card


def test_the_lectures_campaign_keeps_400_customers_worth_3200_a_month():
    report = value_report.report(OFFER, answers(800, 200, 0, 0), None)

    assert (report.kept, report.total) == (400, 3_200)


def test_the_lectures_false_positives_turn_it_into_a_loss_of_36400():
    report = value_report.report(OFFER, answers(800, 200, 19_800, 79_200), None)

    assert report.total == -36_400
    assert report.per_1000 == -364
    assert round(100 * report.break_even_precision, 1) == 33.3
    assert round(100 * report.break_even_fpr, 2) == 1.62


def test_at_the_break_even_precision_acting_is_worth_nothing():
    assert value_report.report(OFFER, answers(100, 50, 200, 1_000), None).total == 0


def test_missing_nobody_is_a_gain_over_leaving_everyone_alone():
    claims = Value(benefit=0, false_positive_cost=10, false_negative_cost=100)

    report = value_report.report(claims, answers(90, 291, 20, 599), None)

    assert (report.absolute, report.nobody, report.total) == (-29_300, -38_100, 8_800)
    assert report.ceiling == 38_100


AMOUNT = st.floats(0, 1000, allow_nan=False)
COSTS = st.fixed_dictionaries({
    "benefit": AMOUNT, "false_positive_cost": AMOUNT, "action_cost": AMOUNT, "false_negative_cost": AMOUNT,
})  # fmt: skip
COUNT = st.integers(0, 40)
COUNTS = st.tuples(COUNT, COUNT, COUNT, st.integers(1, 40))


@settings(max_examples=100, deadline=None)
@given(
    costs=COSTS, success_rate=st.floats(0, 1), counts=st.tuples(COUNT, COUNT, COUNT, st.integers(1, 40)), data=st.data()
)
def test_value_is_linear_in_each_cost(costs, success_rate, counts, data):
    name = data.draw(st.sampled_from(sorted(costs)))
    other = data.draw(AMOUNT)
    share = data.draw(st.floats(0, 1))
    card = answers(*counts)

    def total(amount: float) -> float:
        value = Value(success_rate=success_rate, **(costs | {name: amount}))
        return float(value_report.per_row(value, card).sum())

    mixed = share * costs[name] + (1 - share) * other
    assert total(mixed) == pytest.approx(share * total(costs[name]) + (1 - share) * total(other), abs=1e-6, rel=1e-9)


@settings(max_examples=50, deadline=None)
@given(costs=COSTS, success_rate=st.floats(0, 1), counts=COUNTS)
def test_what_the_bootstrap_weighs_adds_up_to_the_total_and_no_model_exceeds_the_ceiling(costs, success_rate, counts):
    value, card = Value(success_rate=success_rate, **costs), answers(*counts)

    report = value_report.report(value, card, None)

    assert value_report.per_row(value, card).sum() == pytest.approx(report.total, abs=1e-6)
    assert report.total <= report.ceiling + 1e-6
    assert max(point.value for point in report.curve) <= report.ceiling + 1e-6


def test_the_champion_is_valued_at_its_own_threshold():
    candidate = answers(10, 0, 0, 10)
    champion = Binary(candidate.truth, candidate.score, 0.95)

    report = value_report.report(OFFER, candidate, champion)

    assert (report.total, report.champion_total) == (40, 0)
