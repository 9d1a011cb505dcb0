"""What a look at a window found, as metrics for Prometheus: a text file for its node exporter, or a push gateway."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, push_to_gateway, write_to_textfile
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.incidents.incident import Incident

_JOB = "perennial-monitoring"
_MODEL = "model_name"


class Labeled(Collector):
    """Counts since the release began, which start again with the next one."""

    def __init__(self, model: str, labeled: float, wrong: float) -> None:
        self._counts = {
            "perennial_labeled_rows": ("Rows whose label is due and known, since the release began.", labeled),
            "perennial_wrong_rows": ("Those of them that were answered wrongly.", wrong),
        }
        self._model = model

    def collect(self) -> list[CounterMetricFamily]:
        """Return the counters."""
        families = []
        for name, (documentation, value) in self._counts.items():
            family = CounterMetricFamily(name, documentation, labels=[_MODEL])
            family.add_metric([self._model], value)
            families.append(family)
        return families


def metrics(
    window: LogWindow,
    drift: DriftReport,
    performance: PerformanceReport,
    decision: MonitoringDecision,
    incidents: list[Incident],
    now: datetime,
) -> CollectorRegistry:
    """Return all that a monitoring run measured.

    Args:
        window: What was looked at.
        drift: How it differs from the reference.
        performance: How the release performs.
        decision: What to do.
        incidents: All that were ever opened.
        now: When the run ended.
    """
    registry = CollectorRegistry()
    gauge = _gauges(registry, window.model)
    gauge("perennial_monitoring_timestamp_seconds", "When monitoring ran last.", now.timestamp())
    gauge("perennial_monitored_rows", "Rows of the last window.", window.rows)
    gauge("perennial_model_release_info", "Always 1; the label is the release.", 1, release=window.release or "none")
    if window.end is not None:
        newest = datetime.fromisoformat(window.end).timestamp()
        gauge("perennial_newest_event_timestamp_seconds", "Event time of the newest logged row.", newest)
    for action in ("nothing", "watch", "retrain", "roll back"):
        gauge("perennial_decision", "1 for what is to be done, else 0.", decision.action == action, action=action)
    for signal in decision.signals:
        gauge("perennial_signal_found", "1 if the signal found something.", signal.is_found, signal=signal.name)
    for column in drift.columns:
        gauge("perennial_drift_effect", "Distance from the reference.", column.effect, feature=column.column)
        gauge("perennial_drift_found", "1 if the feature differs.", column.is_drift, feature=column.column)
    _performance(gauge, performance)
    for cause in sorted({incident.cause for incident in incidents}):
        open_ones = sum(incident.cause == cause and incident.state != "resolved" for incident in incidents)
        gauge("perennial_incidents_open", "Incidents that nobody has resolved.", open_ones, cause=cause)
    labeled = sum(period.labeled for period in performance.periods)
    registry.register(Labeled(window.model, labeled, sum(period.losses for period in performance.periods)))
    return registry


def _performance(gauge: Callable[..., None], performance: PerformanceReport) -> None:
    gauge("perennial_loss_ratio", "Share of losses among labeled rows since the release.", performance.rate)
    gauge("perennial_loss_reference_ratio", "The same on the test rows.", performance.reference_rate)
    gauge("perennial_loss_tolerated_ratio", "Share above which the loss counts as risen.", performance.tolerated)
    if performance.periods:
        evidence = performance.periods[-1].evidence
        gauge("perennial_loss_evidence_ratio", "The loss test's value as a share of an alarm.", evidence)
    for name, metric in performance.metrics.items():
        gauge("perennial_realized", "A metric on labeled rows.", metric.value, metric=name)
    for watched in performance.watched:
        gauge(
            "perennial_watched",
            "Value, fairness gaps and the share of slow requests.",
            watched.metric.value,
            metric=watched.name,
        )
        gauge(
            "perennial_watched_evidence_ratio",
            "Its test as a share of an alarm.",
            watched.evidence,
            metric=watched.name,
        )
    if performance.estimate is not None and performance.estimate.loss is not None:
        loss = performance.estimate.loss
        for bound, value in (("estimate", loss.value), ("low", loss.low), ("high", loss.high)):
            gauge("perennial_loss_estimated_ratio", "Share of losses that scores let expect.", value, bound=bound)


def _gauges(registry: CollectorRegistry, model: str) -> Callable[..., None]:
    """Return a function that sets a gauge of the model; an undefined value sets none."""
    made: dict[str, Gauge] = {}

    def set_gauge(name: str, documentation: str, value: float | None, **labels: str) -> None:
        if value is None:
            return
        if name not in made:
            made[name] = Gauge(name, documentation, [_MODEL, *labels], registry=registry)
        made[name].labels(model, *labels.values()).set(value)

    return set_gauge


def write(registry: CollectorRegistry, path: Path) -> None:
    """Replace a file for the textfile collector of Prometheus's node exporter."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)


def push(registry: CollectorRegistry, gateway: str, model: str) -> None:
    """Replace what a push gateway has of the model.

    Raises:
        OSError: If it does not take it.
    """
    push_to_gateway(gateway, job=_JOB, registry=registry, grouping_key={"model": model}, timeout=10)
