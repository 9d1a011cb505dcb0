"""``perennial runs``: the newest runs at the server."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipelines.command import terminal
from pipelines.project import project_file
from pipelines.targets import state
from pipelines.targets.kfp import listing
from pipelines.targets.kfp.connection import Server


def show(project: Path, *, target: str, overrides: Sequence[str], experiment: str | None, last: int) -> None:
    """List the newest runs of a project, and bring their local records up to date."""
    place, chosen = state.open_cluster(project, target, overrides)
    server = Server(chosen)
    listing.update(server, place.runs)
    filed = experiment or chosen.experiment or project_file.read(place.project_file).name
    table = Table("run", "name", "state", "created", "took", box=None)
    for run in listing.newest(server, filed, last):
        took = f"{run.seconds:.0f} s" if run.seconds is not None else ""
        table.add_row(run.id, run.name, run.state, f"{run.created:%Y-%m-%d %H:%M:%S}", took)
    terminal.console().print(table)


def end(project: Path, *, target: str, overrides: Sequence[str], run: str) -> None:
    """End a run at the server."""
    place, chosen = state.open_cluster(project, target, overrides)
    server = Server(chosen)
    run_id = listing.find(server, run, place.runs)
    with listing.record_of(server, run_id, place.runs) as (_, follower):
        follower.terminate()
    terminal.console().print(f"ended run {run_id}", highlight=False)
