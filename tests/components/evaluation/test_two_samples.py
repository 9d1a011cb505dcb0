"""A comparison of two streams keeps its error rate however often it is looked at, and needs few requests."""

from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.sequential.two_samples import OddsRise, log_mean

counts = st.integers(0, 30)


def probabilities(requests: int, others: int, events: int, odds: float) -> dict[int, float]:
    """Fisher's noncentral hypergeometric distribution, written as its textbook formula."""
    support = range(max(0, events - others), min(requests, events) + 1)
    weights = {x: comb(requests, x) * comb(others, events - x) * odds**x for x in support}
    return {x: weight / sum(weights.values()) for x, weight in weights.items()}


@settings(max_examples=300, deadline=None)
@given(counts, counts, st.data(), st.floats(0.2, 5), st.floats(0.01, 1))
def test_the_expectation_is_at_most_one_for_every_ratio_up_to_the_tolerated_one(
    requests, others, data, tolerated, share
):
    events = data.draw(st.integers(0, requests + others))
    rise = OddsRise(tolerated)
    chances = probabilities(requests, others, events, tolerated * share)

    for index in range(len(rise.factors)):
        expectation = sum(
            chance * exp(rise.log_values(x, requests, events - x, others)[index]) for x, chance in chances.items()
        )
        assert expectation <= 1 + 1e-9


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.data())
def test_more_events_in_the_first_stream_never_speak_against_a_rise(requests, others, data):
    events = data.draw(st.integers(1, requests + others))
    support = sorted(probabilities(requests, others, events, 1.0))

    values = [log_mean(OddsRise().log_values(x, requests, events - x, others)) for x in support]

    assert values == sorted(values)


def test_nothing_to_compare_says_nothing():
    for nothing in ((0, 0, 3, 10), (0, 10, 0, 10), (3, 10, 0, 0), (4, 4, 7, 7)):
        assert OddsRise().log_values(*nothing) == [0.0] * 5


@pytest.mark.parametrize("wrong", [(2, 1, 0, 5), (0, 1, 6, 5), (-1, 1, 0, 5)])
def test_impossible_counts_are_refused(wrong):
    with pytest.raises(ValueError, match="are no counts of events"):
        OddsRise().log_values(*wrong)


def first_alarm(rng: np.random.Generator, rates: tuple[float, float], looks: int, level: float) -> int | None:
    """Return the number of requests until the alarm, at 5 of 100 requests for the first stream."""
    rise, logs = OddsRise(), np.zeros(5)
    for look in range(1, looks + 1):
        mine = rng.binomial(100, 0.05)
        logs += rise.log_values(rng.binomial(mine, rates[0]), mine, rng.binomial(100 - mine, rates[1]), 100 - mine)
        if log_mean(list(logs)) >= log(1 / level):
            return look * 100
    return None


def test_equal_streams_raise_few_alarms_over_many_looks():
    rng = np.random.default_rng(0)

    alarms = sum(first_alarm(rng, (0.02, 0.02), 200, 0.05) is not None for _ in range(150))

    # At most 7.5 are expected; 16 or more would come with a probability below 0.005.
    assert alarms <= 15


def test_twice_the_errors_at_a_twentieth_of_the_traffic_are_found():
    rng = np.random.default_rng(0)

    needed = [first_alarm(rng, (0.04, 0.02), 600, 0.0025) for _ in range(20)]

    assert all(needed), "each within 60,000 requests"
