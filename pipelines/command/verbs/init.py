"""``perennial init``: say what was guessed and why, and how to go on."""

import shlex
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from pipelines.command import terminal
from pipelines.project import initialise


def init(
    table: Path,
    *,
    label: str,
    entity: str | None,
    time: str | None,
    out: Path,
    categorical: tuple[str, ...],
    in_time_order: bool,
) -> None:
    """Write a project for a table and print the guesses."""
    guess = initialise.write(table, label, entity, time, out, categorical, in_time_order)
    console = terminal.console()
    shown = Table("column", "taken as", "because", box=None, padding=(0, 2, 0, 0))
    for column in guess.columns:
        taken = column.type if column.role == "feature" and column.type else column.role
        shown.add_row(escape(column.column.name), taken, escape(column.reason))
    console.print(shown)
    for note in guess.notes:
        console.print(f"- {escape(note)}")
    for file in guess.files:
        console.print(f"wrote {escape(str(file))}")
    there = "" if out.resolve() == Path.cwd() else f"cd {shlex.quote(str(out))} && "
    console.print(f"next: {there}perennial run", markup=False)
