"""Open an incident for what monitoring decided, or add to one, tell the sinks of the project file, and push metrics."""

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from components.shared import monitoring_metrics, sources
from components.shared.documents.monitoring import DriftReport, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.incidents import announcing, store
from components.shared.incidents.incident import Incident
from components.shared.incidents.mirror import Mirror
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
    """Keep an incident in the bucket before its messages are sent, so that neither is lost if this ends early.

    A sink that takes nothing does not fail the run: its messages wait in the bucket for the next one. A sink of the
    kind ``file`` is a file in the same folder of the bucket. A push gateway that is down is logged.

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
        StepFailed: If the bucket does not answer.
    """
    if not incidents:
        return ELSEWHERE
    decided, now = MonitoringDecision.read(looked.decision), now or datetime.now(UTC)
    with tempfile.TemporaryDirectory() as scratch:
        system, prefix = sources.bucket(incidents)
        mirror = Mirror(system, prefix, incidents, Path(scratch))
        mirror.fetch()
        incident = store.seen(mirror.folders.incidents, decided, run, now)
        if incident is not None:
            announcing.record(project, mirror.folders, incident, now)
            mirror.publish()
        for left in announcing.deliver(project, mirror.folders):
            _log.warning("%d messages for %r wait for the next run: %s", left.messages, left.sink, left.reason)
        mirror.publish()
        if metrics:
            _push(project, looked, list(store.opened(mirror.folders.incidents)), metrics, now)
    if incident is None:
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
