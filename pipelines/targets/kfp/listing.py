"""Runs at a server, and the local records that some of them have."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines import runs
from pipelines.definitions import catalog
from pipelines.definitions.catalog import PipelineEntry
from pipelines.targets.kfp.connection import NotAtServer, Server
from pipelines.targets.kfp.following import Follower
from pipelines.targets.kfp.submission import experiment_of
from pipelines.targets.protocol import RunSummary
from pipelines.targets.remote import records

# The server's words for what has the same name on every target.
_WORDS = {"SUCCEEDED": "finished", "CANCELED": "interrupted"}
# KFP's largest page.
_PAGE = 200
_BEGINNING = re.compile(r"[0-9a-f]{4,8}|[0-9a-f]{8}-[0-9a-f-]{0,26}")
"""What may be the beginning of an id at the server, but not the whole of one."""


def newest(server: Server, experiment: str, last: int, runs_folder: Path) -> list[RunSummary]:
    """List the newest runs of an experiment, the newest first.

    For the server, a rejected run has succeeded. So a run that has is in the state that its record says, or, where it
    has none on this machine (a scheduled run), in the one that follows from its steps.
    """
    recorded = {run.remote: run.state for run in records.at(runs_folder, records.KFP) if run.exit_code is not None}
    experiment_id = experiment_of(server, experiment)
    with server.asked("list its runs") as client:
        answer = client.list_runs(
            page_size=last,
            sort_by="created_at desc",
            experiment_id=experiment_id,
            namespace=server.target.namespace,
        )
    return [_listed(run, recorded.get(run.run_id) or _unrecorded(server, run)) for run in answer.runs or []]


def find(server: Server, name: str, runs_folder: Path, experiment: str) -> str:
    """Return the id of a run that is named by its id, the id of its local record, or the beginning of either.

    Args:
        server: Where it runs.
        name: What the user wrote.
        runs_folder: The local records; a scheduled run has none.
        experiment: Where to look for a run of the server by the beginning of its id.

    Raises:
        InputError: If there is none, or more than one.
    """
    ids = (lambda: _ids(server, experiment)) if _BEGINNING.fullmatch(name) else tuple
    if run_id := records.find(name, runs_folder, records.KFP, ids):
        return run_id
    with server.asked(f"show the run {name!r}") as client:
        return str(client.get_run(name).run_id)


@contextmanager
def record_of(server: Server, run_id: str, runs_folder: Path) -> Iterator[tuple[runs.Run, Follower]]:
    """Give a run's record, brought up to date: the local one, or one that exists as long as this context."""
    with records.record_of(run_id, runs_folder, records.KFP, lambda: _entry_of(server, run_id)) as record:
        yield record, _updated(server, record)


def update(server: Server, runs_folder: Path) -> None:
    """Bring the local records of runs that continued without the command up to date."""
    for record in records.at(runs_folder, records.KFP):
        if record.exit_code is None:
            try:
                _updated(server, record)
            except NotAtServer:
                runs.end(record, runs.FAILED, "it was removed at the server before its end was recorded here.")


def _entry_of(server: Server, run_id: str) -> PipelineEntry:
    """Find out which pipeline a run is of; one that the catalogue does not have is shown as the default one."""
    with server.asked("show a run") as client:
        run = client.get_run(run_id)
    spec = run.pipeline_spec or {}
    # Beside a platform the pipeline is one level deeper.
    name = (spec.get("pipeline_spec") or spec).get("pipelineInfo", {}).get("name", "")
    for entry in catalog.PIPELINES.values():
        if entry.definition.name == name or f"-{entry.name} " in f"{run.display_name} ":
            return entry
    return catalog.entry(catalog.DEFAULT)


def _ids(server: Server, experiment: str) -> Iterator[str]:
    """List the ids of all runs of an experiment, the newest first."""
    experiment_id, token = experiment_of(server, experiment), ""
    while True:
        with server.asked("list its runs") as client:
            answer = client.list_runs(
                page_token=token,
                page_size=_PAGE,
                sort_by="created_at desc",
                experiment_id=experiment_id,
                namespace=server.target.namespace,
            )
        yield from (str(run.run_id) for run in answer.runs or [])
        token = answer.next_page_token or ""
        if not token:
            return


def _unrecorded(server: Server, run: Any) -> str | None:
    """Return the state of a run that succeeded and has no record on this machine."""
    if run.state != "SUCCEEDED":
        return None
    with tempfile.TemporaryDirectory() as folder, record_of(server, run.run_id, Path(folder)) as (record, _):
        return record.state


def _updated(server: Server, record: runs.Run) -> Follower:
    follower = Follower(server, record, lambda step: None)
    if record.exit_code is None:
        follower.look()
    return follower


def _listed(run: Any, recorded: str | None) -> RunSummary:
    # For the server, a run that has not finished has finished in 1970.
    finished = run.finished_at if run.finished_at and run.finished_at.year > 1970 else None
    seconds = (finished - run.created_at).total_seconds() if finished else None
    state = run.state or "PENDING"
    return RunSummary(
        run.run_id, run.display_name, recorded or _WORDS.get(state, state.lower()), run.created_at, seconds
    )
