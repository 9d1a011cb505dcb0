"""``perennial runs``: the newest runs of a target."""

from rich.table import Table

from pipelines.command import terminal
from pipelines.command.options import TargetOptions


def show(options: TargetOptions, *, experiment: str | None, last: int) -> None:
    """List the newest runs of a project."""
    table = Table("run", "name", "state", "created", "took", box=None)
    for run in options.open().runs(experiment, last):
        took = f"{run.seconds:.0f} s" if run.seconds is not None else ""
        table.add_row(run.id, run.name, run.state, f"{run.created:%Y-%m-%d %H:%M:%S}", took)
    terminal.console().print(table)


def end(options: TargetOptions, *, run: str) -> None:
    """End a run."""
    terminal.console().print(f"ended run {options.open().end(run)}", highlight=False)
