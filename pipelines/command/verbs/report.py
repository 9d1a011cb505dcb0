"""``perennial report``: where the report of a run is."""

from pathlib import Path

import click

from components.shared.errors import InputError
from pipelines import runs
from pipelines.command.options import TargetOptions


def report(options: TargetOptions, run: str | None, *, in_browser: bool) -> None:
    """Print the path of a run's report, and open it where asked to.

    Args:
        options: The project and its target.
        run: The id of a run, or the beginning of one; None is the newest run.
        in_browser: Open it in the browser.

    Raises:
        InputError: If there is no such run, or it has no report.
    """
    backend = options.open()
    if run is None:
        record = runs.latest(backend.state.runs)
        if record is None:
            raise InputError("no run has written a report yet; run 'perennial run' first.")
    else:
        with backend.logs(run) as matching_run:
            record = matching_run
    page = record.folder / "report.html"
    if not page.exists():
        raise InputError(f"run {record.id} has no report; it ended as {record.state!r}.")
    click.echo(_shown(page))
    if in_browser:
        click.launch(page.as_uri())


def _shown(page: Path) -> Path:
    """Return the path relative to the current folder where it is below it."""
    return page.relative_to(Path.cwd()) if page.is_relative_to(Path.cwd()) else page
