"""Local records of runs at a server: find one by what the user wrote, or make one for as long as it is looked at."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from components.shared.errors import InputError
from pipelines import runs
from pipelines.definitions.catalog import PipelineEntry

KFP = "kfp"
"""The server of a record that names none."""


def at(runs_folder: Path, server: str) -> Iterator[runs.Run]:
    """Yield the local records of runs at a server, the newest first; those that name none are of Kubeflow Pipelines."""
    return (run for run in runs.records(runs_folder) if run.remote and (run.server or KFP) == server)


def find(name: str, runs_folder: Path, server: str, ids: Callable[[], Iterable[str]]) -> str | None:
    """Return the id of a run at the server that is named by its id, its local record's, or the beginning of either.

    Args:
        name: What the user wrote.
        runs_folder: The local records; a scheduled run has none.
        server: Whose records count.
        ids: Lists the ids at the server among which to look for a run without a record.

    Returns:
        The id, or None if no run is known by that name.

    Raises:
        InputError: If it is the beginning of several.
    """
    remotes = {run.id: str(run.remote) for run in at(runs_folder, server)}
    remotes |= {remote: remote for remote in remotes.values()}
    matching = {remote for key, remote in remotes.items() if key.startswith(name)}
    matching = matching or {run_id for run_id in ids() if run_id.startswith(name)}
    if len(matching) > 1:
        raise InputError(f"{name!r} is the beginning of several runs: {sorted(matching)}; write more of it.")
    return matching.pop() if matching else None


@contextmanager
def record_of(run_id: str, runs_folder: Path, server: str, entry: Callable[[], PipelineEntry]) -> Iterator[runs.Run]:
    """Give a run's record: the local one, or one that exists as long as this context.

    Args:
        run_id: At the server.
        runs_folder: The local records.
        server: Whose records count.
        entry: Finds out which pipeline the run is of; called if there is no record.
    """
    for record in at(runs_folder, server):
        if record.remote == run_id:
            yield record
            return
    with tempfile.TemporaryDirectory() as folder:
        pipeline = entry()
        record = runs.new("", pipeline.name, pipeline.steps, Path(folder), datetime.now(UTC))
        record.remote, record.server = run_id, server
        yield record
