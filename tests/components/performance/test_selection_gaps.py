"""A group that is acted on less often than before is found, and a day that is the same for all groups is no reason."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.performance import selection_gaps
from components.shared.documents.monitoring import WatchedMetric
from components.shared.project import Evaluation
from components.shared.sequential.odds import OddsRise

FIRST, CHANGE, PER_DAY = datetime(2026, 1, 1, tzinfo=UTC), 30, 300
EVALUATION = Evaluation(resamples=50)


def rows(days: int, seed: int, old: float = 0.3, day_sd: float = 0.0) -> pa.Table:
    """Return rows of three groups, acted on at a rate of .3 unless the group ``old`` has another from day 30 on."""
    rng = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), PER_DAY)
    group = rng.choice(["young", "middle", "old"], len(day), p=[0.5, 0.3, 0.2])
    rate = np.where((group == "old") & (day >= CHANGE), old, 0.3)
    odds = rate / (1 - rate) * np.exp(rng.normal(0, day_sd, days)[day])
    acted = rng.uniform(size=len(day)) < odds / (1 + odds)
    return pa.table(
        {
            "event_time": pa.array([FIRST + timedelta(days=int(d)) for d in day], pa.timestamp("us", "UTC")),
            "decision": np.where(acted, "yes", "no"),
            "received.age": group,
        }
    )


def measured(now: pa.Table, allowed_gap: float | None = None) -> WatchedMetric:
    reference = rows(CHANGE, 1)
    [one] = selection_gaps.compared(reference, ("age", "gender"))
    assert (one.column, set(one.groups), one.tests) == ("age", {"young", "middle", "old"}, 6)
    return selection_gaps.measure(
        one, EVALUATION, reference, now, "yes", allowed_gap=allowed_gap, tests=one.tests, run_length=2920
    )


@pytest.mark.parametrize("rate", [0.2, 0.42])
def test_a_group_that_is_treated_differently_is_found_whichever_way(rate):
    metric = measured(rows(60, 2, old=rate))

    assert metric.alarm is not None and "2026-01-31" < metric.alarm <= "2026-02-20"
    assert metric.evidence == 1 and metric.reference < 0.03
    assert metric.metric.low < abs(rate - 0.3) / 2 < metric.metric.high, "half of the rows are from before the change"


def test_days_that_are_the_same_for_all_groups_change_no_gap():
    for seed in range(3):
        metric = measured(rows(90, seed + 10, day_sd=0.5))

        assert metric.alarm is None and metric.evidence < 1


def test_a_gap_that_the_gate_allows_is_tolerated():
    now = rows(60, 2, old=0.22)

    assert measured(now).alarm is not None
    assert measured(now, allowed_gap=0.12).alarm is None


def test_two_groups_are_one_comparison_and_a_rare_group_is_none():
    reference = rows(CHANGE, 1)
    few = pa.array(["rare"] * 99 + ["a", "b"] * ((len(reference) - 99) // 2) + ["a"] * ((len(reference) - 99) % 2))
    two = reference.set_column(2, "received.age", few)

    [one] = selection_gaps.compared(two, ("age",))
    assert (set(one.groups), one.tests) == ({"a", "b"}, 2)
    assert list(selection_gaps.compared(reference.drop_columns("received.age"), ("age",))) == []


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 30), st.integers(0, 60), st.floats(0.2, 5.0), st.floats(0.3, 1.0)
)  # fmt: skip
def test_the_expectation_of_an_e_value_is_at_most_one_whatever_the_margins(inside, outside, events, tolerated, share):
    """Summed over Fisher's noncentral hypergeometric distribution, at the tolerated odds ratio and below."""
    events = min(events, inside + outside)
    e_values = OddsRise(tolerated)
    counts = range(max(0, events - outside), min(inside, events) + 1)
    ways = np.array([_choose(inside, k) * _choose(outside, events - k) * (tolerated * share) ** k for k in counts])
    values = np.exp([e_values.log_values(k, inside, events, inside + outside) for k in counts])

    assert ((ways / ways.sum()) @ values <= 1 + 1e-9).all()


def _choose(n: int, k: int) -> float:
    return float(np.prod([(n - i) / (i + 1) for i in range(k)]))


def test_an_odds_ratio_out_of_range_is_a_bug():
    with pytest.raises(ValueError, match="tolerated 0"):
        OddsRise(0.0)
