"""Save what became of an incident, and keep a message about it for every sink of the project file."""

from datetime import datetime, timedelta
from pathlib import Path

from components.shared.incidents import message, outbox, store
from components.shared.incidents.incident import Incident
from components.shared.project import Project

_WINDOWS = 2
"""So many windows without a sighting, and Alertmanager takes an incident for over."""
_LEAST = timedelta(days=1)


def record(project: Project, incidents: Path, messages: Path, incident: Incident, now: datetime) -> None:
    """Save a changed incident, and keep a message about it for ``outbox.deliver``.

    The message is kept first: whoever is killed in between tells it twice rather than never.

    Args:
        project: Names the sinks.
        incidents: Folder of the incidents.
        messages: Folder of the outbox.
        incident: The incident after the change.
        now: When this is told.
    """
    ends_at = now + max(_WINDOWS * timedelta(days=project.monitoring.window_days), _LEAST)
    content = message.message(project.name, incident, project.monitoring.owner, now, ends_at)
    outbox.put(messages, project.monitoring.notify, content)
    store.save(incidents, incident)
