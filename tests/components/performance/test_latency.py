"""Slow requests are an alarm where there are more than promised, for as long as a window, and not by a slow minute."""

from datetime import date, timedelta

import pytest

from components.performance import latency
from components.shared.documents.monitoring import LatencyDay, WatchedMetric
from components.shared.project import Monitoring

MONITORING = Monitoring()
REQUESTS = 1000


def measured(*slow: int) -> WatchedMetric:
    """Measure days of a thousand requests each, of which so many were slow."""
    first = date(2026, 1, 1)
    days = [
        LatencyDay(day=(first + timedelta(days=n)).isoformat(), requests=REQUESTS, slow=count)
        for n, count in enumerate(slow)
    ]
    return latency.measure(days, MONITORING, run_length=2920)


def test_as_many_slow_requests_as_promised_are_none_too_many():
    metric = measured(*[10] * 400)

    assert metric.alarm is None and metric.evidence < 1
    assert (metric.metric.value, metric.reference) == (pytest.approx(0.01), pytest.approx(0.01))
    assert metric.name == "share of requests slower than 100 ms"


@pytest.mark.parametrize(("slow", "within"), [(1000, 4), (200, 6), (50, 14)])
def test_a_slow_service_is_found_the_sooner_the_slower_it_is(slow, within):
    metric = measured(*[5] * 30, *[slow] * within)

    assert metric.alarm is not None and metric.alarm > "2026-01-30" and metric.evidence == 1


def test_one_slow_day_is_no_alarm_and_an_alarm_ends_with_its_window():
    assert measured(*[5] * 30, 200, *[5] * 3).alarm is None
    assert measured(*[5] * 30, *[1000] * 4, *[0] * 3).alarm is not None
    assert measured(*[5] * 30, *[1000] * 4, *[0] * 10).alarm is None


def test_the_share_is_that_of_the_newest_window():
    metric = measured(*[0] * 30, *[100] * 7)

    assert metric.metric.value == pytest.approx(0.1)
    assert 0.08 < metric.metric.low < 0.1 < metric.metric.high < 0.12
