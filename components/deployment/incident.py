"""Open an incident for a version that was taken back because it did harm."""

import logging
from datetime import UTC, datetime
from pathlib import Path

from components.shared.documents.release import RegisteredVersion
from components.shared.errors import PerennialError
from components.shared.incidents import in_bucket, store
from components.shared.incidents.incident import Incident, Sighting
from components.shared.project import Project

_log = logging.getLogger(__name__)


def open_for(
    project: Project, candidate: RegisteredVersion, reason: str, incidents: str, now: datetime | None = None
) -> None:
    """Keep an incident with the cause ``release`` in the bucket, and tell the sinks; once for a version and its run.

    A bucket that refuses is logged: the version is taken back and marked, and that is what the step has to report.

    Args:
        project: Names the sinks.
        candidate: The version.
        reason: What harm it did.
        incidents: Folder in a bucket; empty where the target keeps no incidents.
        now: The time of the incident; None is the present.
    """
    if not incidents:
        _log.warning("no incident is opened: the target names no folder for them (services.incidents)")
        return
    now = now or datetime.now(UTC)
    run = f"{candidate.run_id or 'registered'} (release {candidate.version})"
    sentence = f"release {candidate.version} is taken back: {reason}"
    sighting = Sighting(run=run, at=now.isoformat(), action="roll back", reasons=(sentence,))

    def found(folder: Path) -> Incident | None:
        # A step that is tried again has opened it already.
        if any(seen.run == run for incident in store.opened(folder) for seen in incident.sightings):
            return None
        return store.sighted(folder, "release", sighting)

    try:
        kept = in_bucket.record(project, incidents, found, now)
    except PerennialError as problem:
        _log.error("no incident is opened for release %s: %s", candidate.version, problem)
    else:
        if kept.incident is not None:
            _log.warning("incident %d is open: %s", kept.incident.number, sentence)
