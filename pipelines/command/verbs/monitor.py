"""``perennial monitor``: look at what the endpoint answered since, and say what to do."""

from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console

from components.shared.documents.monitoring import MonitoringDecision
from components.shared.errors import InputError
from components.shared.incidents import store
from components.shared.incidents.incident import Incident
from components.shared.inference_log import compaction
from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import measuring, notifying, summary
from pipelines.command.view import View
from pipelines.definitions import catalog
from pipelines.targets.protocol import Backend, RunRequest


def monitor(options: TargetOptions, start: datetime | None, end: datetime | None, *, wait: bool) -> int:
    """Run the monitoring pipeline on this machine, and print its decision with the reasons.

    Returns:
        The command's exit code (see ``pipelines.runs``).
    """
    backend = options.open()
    backend.check_machine()
    return look(backend, terminal.console(), start, end, wait=wait).exit_code


class Looked(NamedTuple):
    """What came of a look at a window: the exit code of the run, and its decision, None if it did not come to one."""

    exit_code: int
    decision: MonitoringDecision | None


def look(backend: Backend, console: Console, start: datetime | None, end: datetime | None, *, wait: bool) -> Looked:
    """Run the monitoring pipeline, open an incident or add to one, and tell of it.

    Raises:
        InputError: If no release answers yet.
    """
    if routing.answering(backend.state.endpoint) is None:
        raise InputError(
            f"no release of {backend.project.name} answers yet, so no request was logged; 'perennial run' makes the "
            "first release."
        )
    pipeline = catalog.MONITORING[backend.project.monitoring.drift]
    request = RunRequest(pipeline, start=start, end=end, wait_for_lock=wait)
    retention_days = backend.project.monitoring.retention_days
    for day in compaction.expire(backend.state.inference_log, retention_days, datetime.now(UTC)):
        console.print(f"deleted the requests of {day}, which are older than {retention_days} days", highlight=False)
    decision = None
    with backend.start(request, View(console)) as started:
        page = started.follow()
        summary.show(started.record, page, backend.state.root, console)
        outcome = started.record.artifacts.get("decision.outcome")
        if started.record.exit_code == runs.OK and outcome is not None:
            now, decision = datetime.now(UTC), MonitoringDecision.read(outcome)
            incident = store.seen(backend.state.incidents, decision, started.record.id, now)
            if incident is not None:
                announce(incident, console)
                notifying.record(backend.project, backend.state, incident, now)
            measuring.leave(backend.project, backend.state, started.record, now, console)
        notifying.deliver(backend.project, backend.state.incident_folders, console)
    assert started.record.exit_code is not None
    return Looked(started.record.exit_code, decision)


def announce(incident: Incident, console: Console) -> None:
    """Say that an incident was opened, or seen again."""
    times = len(incident.sightings)
    seen = "opened" if times == 1 else f"seen again, {times} times so far"
    console.print(
        f"incident {incident.number} ({incident.cause}) {seen}: {store.WHAT_TO_DO[incident.cause]}; "
        f"'perennial incidents show {incident.number}'",
        style="bold red",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
