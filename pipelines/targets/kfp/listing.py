"""Runs at a server, and the local records that some of them have."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from pipelines import runs
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import Follower
from pipelines.targets.kfp.submission import experiment_of


@dataclass(frozen=True)
class Listed:
    """A run as the server lists it."""

    id: str
    name: str
    state: str
    created: datetime
    finished: datetime | None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it goes on."""
        return (self.finished - self.created).total_seconds() if self.finished else None


def newest(server: Server, experiment: str, last: int) -> list[Listed]:
    """List the newest runs of an experiment, the newest first."""
    experiment_id = experiment_of(server, experiment)
    with server.asked("list its runs") as client:
        answer = client.list_runs(
            page_size=last,
            sort_by="created_at desc",
            experiment_id=experiment_id,
            namespace=server.target.namespace,
        )
    return [_listed(run) for run in answer.runs or []]


def find(server: Server, name: str, runs_folder: Path) -> str:
    """Return the id of a run that is named by its id, the id of its local record, or the beginning of either.

    Raises:
        InputError: If there is none, or more than one.
    """
    local = {path.parent.name: runs.load(path).remote for path in runs_folder.glob("*/run.json")}
    known = {key: remote for key, remote in local.items() if remote} | {run: run for run in local.values() if run}
    found = {remote for key, remote in known.items() if key.startswith(name)}
    if len(found) > 1:
        raise InputError(f"{name!r} is the beginning of several runs: {sorted(found)}; write more of it.")
    if found:
        return found.pop()
    with server.asked(f"show the run {name!r}") as client:
        return str(client.get_run(name).run_id)


@contextmanager
def record_of(server: Server, run_id: str, runs_folder: Path) -> Iterator[tuple[runs.Run, Follower]]:
    """Give a run's record, brought up to date: the local one, or one for the time of this context."""
    for path in runs_folder.glob("*/run.json"):
        record = runs.load(path)
        if record.remote == run_id:
            yield record, _updated(server, record)
            return
    with tempfile.TemporaryDirectory() as folder:
        record = runs.new("", list(runs.ORDER), Path(folder), datetime.now(UTC))
        record.remote = run_id
        yield record, _updated(server, record)


def update(server: Server, runs_folder: Path) -> None:
    """Bring the local records of runs that went on without the command up to date."""
    for path in sorted(runs_folder.glob("*/run.json")):
        record = runs.load(path)
        if record.remote and record.exit_code is None:
            _updated(server, record)


def _updated(server: Server, record: runs.Run) -> Follower:
    follower = Follower(server, record, lambda step: None)
    if record.exit_code is None:
        follower.look()
    return follower


def _listed(run: Any) -> Listed:
    # A run that goes on ended, for the server, before computers.
    finished = run.finished_at if run.finished_at and run.finished_at.year > 1970 else None
    return Listed(run.run_id, run.display_name, (run.state or "PENDING").lower(), run.created_at, finished)
