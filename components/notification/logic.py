"""Open an incident for what monitoring decided, or add to one, and tell the sinks of the project file."""

import logging
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from components.shared import sources
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.incidents import announcing, store
from components.shared.incidents.mirror import Mirror
from components.shared.project import Project

_log = logging.getLogger(__name__)

ELSEWHERE = "left to the command"
QUIET = "no incident"


def notify(project: Project, decision: str | Path, incidents: str, run: str, now: datetime | None = None) -> str:
    """Keep an incident in the bucket before its messages are sent, so that neither is lost if this ends early.

    A sink that takes nothing does not fail the run: its messages wait in the bucket for the next one. A sink of the
    kind ``file`` is a file in the same folder of the bucket.

    Args:
        project: Names the sinks.
        decision: The output of the step decision.
        incidents: Folder in a bucket; empty where the command that started the run does all this on its own machine.
        run: The id of this run.
        now: The time of the messages; None is the present.

    Returns:
        What was done, in a few words.

    Raises:
        InputError: If the bucket cannot be reached.
    """
    if not incidents:
        return ELSEWHERE
    decided, now = MonitoringDecision.read(decision), now or datetime.now(UTC)
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
    if incident is None:
        return QUIET
    times = len(incident.sightings)
    done = f"incident {incident.number} ({incident.cause}) {'opened' if times == 1 else f'seen {times} times'}"
    _log.warning("%s: %s", done, "; ".join(decided.reasons))
    return done
