"""``perennial loop``: look at the window, and do what monitoring decides: nothing, retrain, or roll back."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import filelock
from rich.console import Console

from components.shared.documents.monitoring import MonitoringDecision
from components.shared.errors import ExitCode, InputError, PerennialError
from components.shared.incidents import attempts, store
from components.shared.incidents.attempts import TrainingAttempts
from components.shared.release import routing
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs import monitor, notifying, summary
from pipelines.command.view import View
from pipelines.runs import Run
from pipelines.targets.protocol import Backend, RunRequest
from pipelines.targets.state import State


def loop(options: TargetOptions, every: timedelta, *, once: bool) -> int:
    """Go round once, or again and again until Ctrl-C.

    A failure of a round is reported, and the next round starts from the beginning: monitoring reads all that
    was logged, a training that would only repeat an earlier one is not made, and a release that was interrupted is
    completed or taken back.

    Returns:
        The exit code of the round, or 0 after Ctrl-C.

    Raises:
        InputError: If another loop runs on the project.
    """
    console, backend = terminal.console(), options.open()
    backend.check_machine()
    with _alone(backend.state):
        while True:
            began = datetime.now(UTC)
            code = _round(options, console)
            if once:
                return code
            pause = (began + every - datetime.now(UTC)).total_seconds()
            console.print(f"next round at {began + every:%Y-%m-%d %H:%M} UTC  (Ctrl-C ends the loop)", highlight=False)
            try:
                time.sleep(max(pause, 0.0))
            except KeyboardInterrupt:
                return runs.OK


def _round(options: TargetOptions, console: Console) -> int:
    """Go round once with the project file as it is now; a failure that has a sentence is told."""
    try:
        backend = options.open()
        looked = monitor.look(backend, console, None, None, wait=True)
        if looked.decision is None:
            return looked.exit_code
        return act(backend, looked.decision, console)
    except PerennialError as error:
        console.print(f"this round ended early: {error}", style="bold red", highlight=False, markup=False)
        return error.exit_code


def act(backend: Backend, decision: MonitoringDecision, console: Console) -> int:
    """Do what monitoring decided; return the exit code of that."""
    if decision.action == "roll back":
        try:
            answering = backend.roll_back(None, View(console))
        except InputError as impossible:
            console.print(f"no rollback: {impossible}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(f"rolled back: release {answering} of {backend.project.name} answers", highlight=False)
            # The release that answers again may be due by its age; it is not trained again on the same rows.
            back = attempts.rejected(TrainingAttempts(release=answering), decision, "its successor was rolled back")
            back.write(backend.state.loop)
            _resolve(backend, decision, f"rolled back to release {answering} by 'perennial loop'", console)
            return ExitCode.OK
    if decision.action in ("retrain", "roll back"):
        before = routing.answering(backend.state.endpoint)
        former = attempts.read(backend.state.loop, before)
        if attempts.is_early(backend.project.retraining, former, decision):
            console.print("no training yet: the last one, without an alarm either, released nothing", highlight=False)
            return ExitCode.OK
        record = _retrain(backend, decision, console)
        assert record.exit_code is not None
        after = routing.answering(backend.state.endpoint)
        if after != before:
            _resolve(backend, decision, f"release {after} replaced release {before}, by 'perennial loop'", console)
        elif record.exit_code != ExitCode.OK and record.repeats is None:
            reason = record.reason or record.state
            is_rejected = record.exit_code == ExitCode.REJECTED
            tried = attempts.rejected(former, decision, reason) if is_rejected else attempts.failed(former, reason)
            _count(backend, tried, record, console)
        return record.exit_code
    return ExitCode.OK


def _count(backend: Backend, tried: TrainingAttempts, record: Run, console: Console) -> None:
    """Keep a training that released nothing; after as many as the project file names, it is an incident."""
    now, state = datetime.now(UTC), backend.state
    tried.write(state.loop)
    if tried.in_a_row >= backend.project.retraining.attempts:
        opened = attempts.incident(state.incidents, tried, record.id, now)
        monitor.announce(opened, console)
        notifying.record(backend.project, state, opened, now)
        notifying.deliver(backend.project, state.incident_folders, console)


def _resolve(backend: Backend, decision: MonitoringDecision, resolution: str, console: Console) -> None:
    """Close the incident that was acted on; should the next window show the same, it opens a new one."""
    now, state = datetime.now(UTC), backend.state
    for incident in store.opened(state.incidents):
        if incident.cause in (decision.cause, "training") and incident.state != "resolved":
            notifying.record(
                backend.project, state, store.resolved(state.incidents, incident.number, resolution, now), now
            )
            console.print(f"incident {incident.number} is resolved: {resolution}", highlight=False, markup=False)
    notifying.deliver(backend.project, state.incident_folders, console)


def _retrain(backend: Backend, decision: MonitoringDecision, console: Console) -> Run:
    """Retrain; if the loss has risen, use the rows since the day it began to rise, if there are enough of them."""
    since = datetime.fromisoformat(decision.changed_on).replace(tzinfo=UTC) if decision.changed_on else None
    window = f", preferably on rows from {since:%Y-%m-%d} on" if since else ""
    console.print(f"retraining on the project's tables as they are now{window}", highlight=False)
    with backend.start(RunRequest(wait_for_lock=True, train_since=since), View(console)) as started:
        summary.show(started.record, started.follow(), backend.state.root, console)
    return started.record


@contextlib.contextmanager
def _alone(state: State) -> Iterator[None]:
    """Keep a second loop away; the kernel drops the lock when its holder dies."""
    state.create_folder()
    lock = filelock.FileLock(state.folder / "loop.lock")
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout as taken:
        raise InputError("another 'perennial loop' runs on this project; end it first.") from taken
    try:
        yield
    finally:
        lock.release()
