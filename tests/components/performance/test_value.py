"""What decisions are worth is measured in the project's currency, and a model that earns less is found."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from components.performance import losses, value
from components.performance.losses import Losses
from components.shared.project import Evaluation, Value
from components.shared.sequential.e_detector import EDetector

FIRST, CHANGE, PER_DAY = datetime(2026, 1, 1, tzinfo=UTC), 30, 200
OFFER = Value(currency="EUR", benefit=120, success_rate=0.25, action_cost=2, false_positive_cost=3)
"""Acting on a positive row gains 28, on a negative one it loses 5."""


def rows(days: int, seed: int, precision: float) -> pa.Table:
    """Return rows of which a fifth is acted on: half of them rightly, or as many as ``precision`` from day 30 on."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), PER_DAY)
    acted = rng.uniform(size=len(day)) < 0.2
    share = np.where(acted, np.where(day < CHANGE, 0.5, precision), 0.1)
    label = rng.uniform(size=len(day)) < share
    return pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(days=int(d)) for d in day], pa.timestamp("us", "UTC")),
            "decision": np.where(acted, "yes", "no"),
            "label": np.where(label, "yes", "no"),
        }
    )


def measured(now: pa.Table, offer: Value = OFFER):
    return value.measure(offer, Evaluation(resamples=100), "yes", rows(CHANGE, 1, 0.5), now, run_length=2920)


def test_the_value_is_what_the_decisions_gained_beside_that_of_the_test_rows():
    now = rows(20, 2, 0.5)
    acted, positive = (np.array(now[name].to_pylist()) == "yes" for name in ("decision", "label"))
    gained = 28 * (acted & positive).sum() - 5 * (acted & ~positive).sum()

    metric = measured(now)

    assert metric.name == "EUR gained per 1,000 rows"
    assert metric.metric.value == pytest.approx(1000 * gained / len(now))
    assert metric.metric.low < metric.metric.value < metric.metric.high
    assert metric.reference == pytest.approx(2300, rel=0.1)


def test_a_model_that_earns_less_is_found_and_one_that_earns_more_or_as_much_raises_no_alarm():
    worse = measured(rows(75, 2, 0.05))

    assert worse.alarm is not None and worse.alarm > "2026-01-31" and worse.evidence == 1
    for seed, precision in ((3, 0.5), (4, 0.5), (5, 0.9)):
        assert measured(rows(90, seed, precision)).alarm is None


def days_of(rng: np.random.Generator, days: int, rows: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the day and the shortfall of each row of days whose precision differs by a standard deviation."""
    day = np.repeat(np.arange(days), rows)
    precision = np.clip(rng.normal(0.5, spread, days), 0, 1)[day]
    acted = rng.uniform(size=len(day)) < 0.2
    gained = np.where(acted, np.where(rng.uniform(size=len(day)) < precision, 28.0, -5.0), 0.0)
    return np.char.zfill(day.astype(str), 5), value._shortfall(OFFER, gained)


def test_days_that_differ_by_themselves_raise_no_alarms_however_many_rows_they_have():
    """One in eight years is promised, so two are expected here; with the variance of events there were hundreds."""
    rng, alarms = np.random.default_rng(7), 0
    for _ in range(16):
        before = Losses(*days_of(rng, 60, 100, 0.1))
        e_values, _ = losses.e_values(before, 0.0, are_events=False)
        detector = EDetector(e_values, 2920)
        for _, lost, rows in zip(*Losses(*days_of(rng, 365, 2000, 0.1)).by_day(), strict=True):
            alarms += detector.observe(lost, rows)

    assert alarms <= 8


@pytest.mark.parametrize(
    ("offer", "is_testable"), [(None, False), (OFFER, True), (Value(benefit=0, false_positive_cost=0), False)]
)
def test_without_a_declared_value_nothing_is_tested(offer, is_testable):
    assert value.is_testable(offer) == is_testable
