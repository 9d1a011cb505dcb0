"""Keep an incident in a bucket and tell the sinks of the project file: what a step on a cluster does."""

import logging
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from components.shared import sources
from components.shared.incidents import announcing, store
from components.shared.incidents.incident import Incident
from components.shared.incidents.mirror import Mirror
from components.shared.project import Project

_log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """The incident that was opened or seen again, if there was one, and all that the bucket has."""

    incident: Incident | None
    all: tuple[Incident, ...]


def record(project: Project, uri: str, found: Callable[[Path], Incident | None], now: datetime) -> Kept:
    """Keep an incident in the bucket before its messages are sent, so that neither is lost if this ends early.

    A sink that takes nothing fails nothing: its messages wait in the bucket for the next call. A sink of the kind
    ``file`` is a file in the same folder of the bucket.

    Args:
        project: Names the sinks.
        uri: The folder in a bucket.
        found: Returns the incident to keep, from a folder with a copy of all; None if there is nothing to deal with.
        now: The time of the messages.

    Raises:
        InputError: If the bucket refuses.
        StepFailed: If it does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        system, prefix = sources.bucket(uri)
        mirror = Mirror(system, prefix, uri, Path(scratch))
        mirror.fetch()
        incident = found(mirror.folders.incidents)
        if incident is not None:
            announcing.record(project, mirror.folders, incident, now)
            mirror.publish()
        for left in announcing.deliver(project, mirror.folders):
            _log.warning("%d messages for %r wait for the next run: %s", left.messages, left.sink, left.reason)
        mirror.publish()
        return Kept(incident, tuple(store.opened(mirror.folders.incidents)))
