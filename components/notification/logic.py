"""Open an incident for what monitoring decided, or add to one, tell the sinks of the project file, and push metrics."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from components.shared import monitoring_metrics
from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.incidents import in_bucket, store
from components.shared.incidents.incident import Incident
from components.shared.project import Project

_log = logging.getLogger(__name__)

ELSEWHERE = "left to the command"
QUIET = "no incident"


class Looked(NamedTuple):
    """The outputs of the steps log_window, drift, performance and decision."""

    window: str | Path
    drift: str | Path
    performance: str | Path
    decision: str | Path


def notify(
    project: Project, looked: Looked, incidents: str, metrics: str, run: str, now: datetime | None = None
) -> str:
    """Keep an incident in the bucket if the decision calls for one, tell the sinks, and push metrics.

    Neither a sink that takes nothing nor a push gateway that is down fails the run.

    Args:
        project: Names the sinks.
        looked: What monitoring measured and decided.
        incidents: Folder in a bucket; empty where the command that started the run does all this on its own machine.
        metrics: Address of a push gateway; empty where metrics are left by the command, or nowhere.
        run: The id of this run.
        now: The time of the messages; None is the present.

    Returns:
        What was done, in a few words.

    Raises:
        InputError: If the bucket refuses.
        StepFailed: If it does not answer.
    """
    if not incidents:
        return ELSEWHERE
    decided, now = MonitoringDecision.read(looked.decision), now or datetime.now(UTC)
    kept = in_bucket.record(project, incidents, lambda folder: store.seen(folder, decided, run, now), now)
    if metrics:
        _push(project, looked, list(kept.all), metrics, now)
    if (incident := kept.incident) is None:
        return QUIET
    times = len(incident.sightings)
    done = f"incident {incident.number} ({incident.cause}) {'opened' if times == 1 else f'seen {times} times'}"
    _log.warning("%s: %s", done, "; ".join(decided.reasons))
    return done


def _push(project: Project, looked: Looked, incidents: list[Incident], gateway: str, now: datetime) -> None:
    """Replace what the push gateway has of the model."""
    documents = (
        LogWindow.read(looked.window),
        DriftReport.read(looked.drift),
        PerformanceReport.read(looked.performance),
    )
    registry = monitoring_metrics.metrics(*documents, MonitoringDecision.read(looked.decision), incidents, now)
    try:
        monitoring_metrics.push(registry, gateway, project.name)
    except OSError as error:
        _log.warning("the metrics of this run are not at %s: %s; the next run pushes newer ones", gateway, error)
