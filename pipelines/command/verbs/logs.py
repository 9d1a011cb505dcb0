"""``perennial logs``: the states of a run's steps, and what one of them printed."""

from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs.submit import show_end


def logs(options: TargetOptions, *, run: str, step: str | None) -> None:
    """Print the log of a step; without one, the states of all steps, why the run failed, and the failed step's log."""
    name = step and step.replace("-", "_")
    with options.open().logs(run, name) as record:
        if step is not None:
            click.echo(terminal.visible(_log(record, step)), nl=False)
            return
        for recorded in record.steps:
            took = f"{recorded.seconds:6.1f} s" if recorded.seconds is not None else ""
            click.echo(f"{recorded.name:<18} {recorded.state:<8}{took}".rstrip())
        with_errors = (recorded for recorded in record.steps if recorded.log and recorded.error)
        failed = next((recorded for recorded in with_errors if recorded.error == record.reason), None)
        if failed:
            click.echo(terminal.visible(f"\n--- {failed.name}\n{_log(record, failed.name)}"))
        if record.exit_code is not None:
            show_end(record, terminal.console())


def _log(record: runs.Run, name: str) -> str:
    steps = {step.name: step for step in record.steps}
    step = steps.get(name.replace("-", "_"))
    if step is None:
        raise InputError(f"there is no step {name!r}; expected one of {list(steps)}.")
    if step.log is None or not Path(step.log).exists():
        why = f", {step.error.rstrip('.')}" if step.error else ""
        raise InputError(f"the step {step.name} has no log: it is {step.state}{why}; ask for one that ran.")
    return Path(step.log).read_text(encoding="utf-8", errors="replace")
