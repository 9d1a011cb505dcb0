"""``perennial runs``: the newest runs of a target."""

from rich.table import Table

from pipelines.command import terminal
from pipelines.command.options import TargetOptions
from pipelines.targets.protocol import Backend


def show(options: TargetOptions, *, experiment: str | None, last: int) -> None:
    """List the newest runs of a project."""
    terminal.console().print(table(options.open(), experiment, last))


def table(backend: Backend, experiment: str | None, last: int) -> Table:
    """Make a table of the newest runs, the newest first."""
    listed = Table("run", "name", "state", "created", "took", box=None)
    for run in backend.runs(experiment, last):
        took = f"{run.seconds:.0f} s" if run.seconds is not None else ""
        listed.add_row(run.id, run.name, run.state, f"{run.created:%Y-%m-%d %H:%M:%S}", took)
    return listed


def end(options: TargetOptions, *, run: str) -> None:
    """End a run."""
    terminal.console().print(f"ended run {options.open().end(run)}", highlight=False)
