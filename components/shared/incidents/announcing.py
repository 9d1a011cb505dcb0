"""Save what became of an incident, and keep a message about it for every sink of the project file."""

from datetime import datetime, timedelta

from components.shared.incidents import message, outbox, store
from components.shared.incidents.folders import IncidentFolders
from components.shared.incidents.incident import Incident
from components.shared.incidents.outbox import Waiting
from components.shared.project import Project

_WINDOWS = 2
"""So many windows without a sighting, and Alertmanager takes an incident for over."""
_LEAST = timedelta(days=1)


def record(project: Project, folders: IncidentFolders, incident: Incident, now: datetime) -> None:
    """Save a changed incident, and keep a message about it for ``deliver``.

    The message is kept first: whoever is killed in between tells it twice rather than never.

    Args:
        project: Names the sinks.
        folders: Where incidents and messages are kept.
        incident: The incident after the change.
        now: When this is told.
    """
    ends_at = now + max(_WINDOWS * timedelta(days=project.monitoring.window_days), _LEAST)
    content = message.message(project.name, incident, project.monitoring.owner, now, ends_at)
    outbox.put(folders.outbox, project.monitoring.notify, content)
    store.save(folders.incidents, incident)


def deliver(project: Project, folders: IncidentFolders) -> list[Waiting]:
    """Send every message that waits; return what the sinks did not take."""
    return outbox.deliver(folders.outbox, project.monitoring.notify, folders.files)
