"""Save what became of an incident, and tell the sinks of the project file."""

from datetime import datetime, timedelta

from rich.console import Console

from components.shared.project import Project
from pipelines.incidents import message, outbox, store
from pipelines.incidents.incident import Incident
from pipelines.targets.state import State

_WINDOWS = 2
"""So many windows without a sighting, and Alertmanager takes an incident for over."""
_LEAST = timedelta(days=1)


def record(project: Project, state: State, incident: Incident, now: datetime) -> None:
    """Save a changed incident, and keep a message about it for ``deliver``.

    The message is kept first: whoever is killed in between tells it twice rather than never.
    """
    ends_at = now + max(_WINDOWS * timedelta(days=project.monitoring.window_days), _LEAST)
    told = message.message(project.name, incident, project.monitoring.owner, now, ends_at)
    outbox.put(state.outbox, project.monitoring.notify, told)
    store.save(state.incidents, incident)


def deliver(project: Project, state: State, console: Console) -> None:
    """Send every message that waits; what a sink does not take is said, and sent the next time."""
    for left in outbox.deliver(state.outbox, project.monitoring.notify, state.root):
        messages = "1 message" if left.messages == 1 else f"{left.messages} messages"
        console.print(
            f"{messages} for {left.sink!r} not delivered: {left.reason}; kept, and sent again by the next "
            "'perennial monitor' or 'perennial incidents'",
            style="yellow",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
