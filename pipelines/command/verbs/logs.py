"""``perennial logs``: the states of a run's steps, and what one of them printed."""

from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.command.verbs.submit import show_end
from pipelines.runs.own_lines import own_lines


def logs(options: TargetOptions, *, run: str, step: str | None, whole: bool) -> None:
    """Print the log of a step; without one, the states of all steps, why the run failed, and the failed step's log.

    A log is shown without the lines of KFP around the step's own, unless it is to be ``whole``.
    """
    name = step and step.replace("-", "_")
    with options.open().logs(run, name) as record:
        if step is not None:
            click.echo(terminal.visible(_log(record, step, whole)), nl=False)
            return
        for recorded in record.steps:
            took = f"{recorded.seconds:6.1f} s" if recorded.seconds is not None else ""
            click.echo(f"{recorded.name:<18} {recorded.state:<8}{took}".rstrip())
        with_errors = (recorded for recorded in record.steps if recorded.log and recorded.error)
        failed = next((recorded for recorded in with_errors if recorded.error == record.reason), None)
        if failed:
            click.echo(terminal.visible(f"\n--- {failed.name}\n{_log(record, failed.name, whole)}"))
        if record.exit_code is not None:
            show_end(record, terminal.console(), options.target)


def _log(record: runs.Run, name: str, whole: bool) -> str:
    steps = {step.name: step for step in record.steps}
    step = steps.get(name.replace("-", "_"))
    if step is None:
        raise InputError(f"there is no step {name!r}; expected one of {list(steps)}.")
    if step.log is None or not Path(step.log).exists():
        why = f", {step.error.rstrip('.')}" if step.error else ""
        raise InputError(f"the step {step.name} has no log: it is {step.state}{why}; ask for one that ran.")
    text = Path(step.log).read_text(encoding="utf-8", errors="replace")
    own = text if whole else own_lines(text)
    if not own and step.state == "done":
        return f"the step {step.name} printed nothing of its own; --all shows what KFP printed around it.\n"
    # Why a step failed that printed nothing is among the other lines.
    return own or text
