"""Test whether more requests are too slow than the project promises, by the log's own times.

The test bets on the share of slow requests of each day, and assumes nothing of how days differ. An alarm counts as long
as it is younger than a window, since the service may have recovered while the release still answers.
"""

from collections.abc import Sequence
from datetime import date, timedelta

from scipy import stats

from components.shared.documents.measurements import Metric
from components.shared.documents.monitoring import LatencyDay, WatchedMetric
from components.shared.project import Monitoring
from components.shared.sequential.e_detector import BoundedMeanRise, EDetector

_CONFIDENCE = 0.95


def measure(days: Sequence[LatencyDay], monitoring: Monitoring, *, run_length: float) -> WatchedMetric:
    """Measure the share of slow requests of the newest window, and hand all days to a detector.

    Args:
        days: The days since the release in order, at least one, each with a request.
        monitoring: Says what is promised, and how long a window is.
        run_length: Average number of days between false alarms.
    """
    tolerated = 1 - monitoring.slo.latency
    detector = EDetector(BoundedMeanRise(tolerated), run_length)
    alarms = [day.day for day in days if detector.observe(day.slow, day.requests)]
    since = (date.fromisoformat(days[-1].day) - timedelta(days=monitoring.window_days)).isoformat()
    newest, recent = [day for day in days if day.day > since], [day for day in alarms if day > since]
    slow, requests = sum(day.slow for day in newest), sum(day.requests for day in newest)
    interval = stats.binomtest(slow, requests).proportion_ci(_CONFIDENCE, method="wilson")
    return WatchedMetric(
        signal="latency",
        name=f"share of requests slower than {monitoring.slo.latency_ms} ms",
        metric=Metric(value=slow / requests, low=float(interval.low), high=float(interval.high)),
        reference=tolerated,
        evidence=1.0 if recent else min(detector.fraction, 1.0),
        alarm=recent[0] if recent else None,
        run_length_days=run_length,
        guarantee="holds while the expected share of slow requests of a day is at most what is promised",
    )
