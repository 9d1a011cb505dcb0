"""``perennial logs``: how a run's steps stand, and what one of them printed."""

from collections.abc import Sequence
from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.verbs.submit import show_end
from pipelines.targets import state
from pipelines.targets.kfp import listing
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import keep_logs


def logs(project: Path, *, target: str, overrides: Sequence[str], run: str, step: str | None) -> None:
    """Print the log of a step; without one, how all steps stand, why the run failed, and the log of what failed."""
    place, chosen = state.open_cluster(project, target, overrides)
    server = Server(chosen)
    run_id = listing.find(server, run, place.runs)
    with listing.record_of(server, run_id, place.runs) as (record, follower):
        keep_logs(follower, record, step and _known(record, step))
        if step is not None:
            click.echo(_log(record, step), nl=False)
            return
        for each in record.steps:
            took = f"{each.seconds:6.1f} s" if each.seconds is not None else ""
            click.echo(f"{each.name:<18} {each.state:<8}{took}".rstrip())
        failed = next((each for each in record.steps if each.log and each.error and each.error == record.reason), None)
        if failed:
            click.echo(f"\n--- {failed.name}\n{_log(record, failed.name)}")
        if record.exit_code is not None:
            show_end(record, terminal.console())


def _log(record: runs.Run, name: str) -> str:
    step = record.step(_known(record, name))
    if step.log is None:
        why = f", {step.error.rstrip('.')}" if step.error else ""
        raise InputError(f"the step {step.name} has no log: it is {step.state}{why}; ask for one that ran.")
    return Path(step.log).read_text(encoding="utf-8", errors="replace")


def _known(record: runs.Run, name: str) -> str:
    known = [step.name for step in record.steps]
    if name.replace("-", "_") not in known:
        raise InputError(f"there is no step {name!r}; known are {known}.")
    return name.replace("-", "_")
