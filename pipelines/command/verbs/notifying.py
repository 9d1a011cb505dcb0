"""Save what became of an incident, and tell the sinks of the project file."""

from datetime import datetime

from rich.console import Console

from components.shared.incidents import announcing
from components.shared.incidents.folders import IncidentFolders
from components.shared.incidents.incident import Incident
from components.shared.project import Project
from pipelines.targets.state import State


def record(project: Project, state: State, incident: Incident, now: datetime) -> None:
    """Save a changed incident, and keep a message about it for ``deliver``."""
    announcing.record(project, state.incident_folders, incident, now)


def deliver(project: Project, folders: IncidentFolders, console: Console) -> None:
    """Send every message that waits; what a sink does not take is said, and sent the next time."""
    for left in announcing.deliver(project, folders):
        messages = "1 message" if left.messages == 1 else f"{left.messages} messages"
        console.print(
            f"{messages} for {left.sink!r} not delivered: {left.reason}; kept, and sent again by the next "
            "'perennial monitor' or 'perennial incidents'",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
