"""Remove runs of a project from a Kubeflow Pipelines server, and what only they hold from its bucket.

A run is deleted at the server first: its tasks leave the cache with it, so no later run reads their files. A note in
the bucket says what else is to go, so that whoever collects next finishes what a killed process left:

1. Write the note of each run that nothing needs, then delete the run.
2. Unless a run is under way, which may have read the cache before: delete the files of each note that no other run
   uses, then the bundle and the tables that no run and no schedule names, then the note.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from components.shared.documents.document import Document
from components.shared.documents.release import RegisteredVersion
from pipelines.definitions import catalog
from pipelines.targets.kfp import artifacts, submission
from pipelines.targets.kfp import workflow as manifest
from pipelines.targets.kfp.connection import Server
from pipelines.targets.kfp.following import ENDED
from pipelines.targets.protocol import Collected
from pipelines.targets.remote.storage import FRESH, Bucket, StoredFile
from pipelines.targets.remote.submission import pipeline_name

_PAGE = 200


class CollectionNote(Document):
    """What is to go with a run that is deleted.

    Args:
        folder: Path of the run's own files; None if it wrote none.
        inputs: Paths of the bundle and the tables that it read.
    """

    FILE: ClassVar[str] = "collecting.json"

    folder: str | None
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class _ServerRun:
    """A run, or a schedule (which has no state), as far as it names files."""

    id: str
    name: str
    state: str | None
    pipeline_id: str | None
    created: datetime
    strings: tuple[str, ...]
    """The values of its parameters that are text."""


@dataclass
class _Plan:
    """What is to be done, step by step; see the module."""

    unfinished: list[_ServerRun]
    doomed: list[_ServerRun]
    notes: dict[str, CollectionNote]
    """Id of a run that is gone, or will be, to its note."""
    used: set[str]
    """Paths that what stays has read or names."""
    named: set[str]
    """Paths that any run or schedule of the server names."""
    items: list[str] = field(default_factory=list)
    size: int = 0


class Housekeeping:
    """What one project leaves at a server.

    Args:
        server: Where its runs are.
        bucket: Where bundles and tables are, on the server of all other files.
        project: Its name.
        versions: Versions that the registry lists.
        now: Says how old a file is.
    """

    def __init__(self, server: Server, bucket: Bucket, project: str, versions: Iterable[str], now: datetime) -> None:
        self._server, self._bucket, self._project = server, bucket, project
        self._versions, self._now = set(versions), now
        self._folder = f"{bucket.uri}/collecting/{project}"

    def collect(self, keep: int, *, dry_run: bool) -> Collected:
        """Remove what nothing needs.

        A run is needed while it is under way, if it is one of the newest ``keep``, or if it registered a version that
        the registry still lists. A task's files are needed if a needed run read them, also where another had made them.

        Raises:
            InputError: If the server or the bucket refuses.
            StepFailed: If one of them does not answer.
        """
        plan = self._plan(keep)
        kept = _under_way(plan.unfinished)
        if kept:
            return Collected((), 0, kept)
        for run in plan.doomed:
            plan.items.append(f"run {run.name} ({run.id})")
            if not dry_run:
                self._bucket.write(f"{self._folder}/{run.id}.json", _encoded(plan.notes[run.id]))
                with self._server.asked("delete a run") as client:
                    client.delete_run(run.id)
        if not dry_run:
            # A run that began meanwhile may have been answered from the cache before the runs were deleted.
            kept = _under_way(self._unfinished(self._everything()))
        if not kept:
            for run_id, note in plan.notes.items():
                self._remove_files(plan, run_id, note, dry_run)
        return Collected(tuple(plan.items), plan.size, kept)

    def _plan(self, keep: int) -> _Plan:
        everything, schedules = self._everything(), self._schedules()
        ours = self._ours(everything)
        ours.sort(key=lambda run: run.created, reverse=True)
        unfinished = [run for run in ours if run.state not in ENDED]
        if unfinished:
            return _Plan(unfinished, [], {}, set(), set())
        newest = {run.id for run in ours[:keep]}
        read = {run.id: self._read(run) for run in ours}
        doomed = [run for run in ours if run.id not in newest and not self._has_version(read[run.id])]
        gone = {run.id for run in doomed}
        staying = [run for run in (*everything, *schedules) if run.id not in gone]
        inputs = tuple(f"{_path(self._bucket.uri)}/{folder}/" for folder in ("bundles", "tables"))
        notes = self._notes(existing={run.id for run in everything})
        for run in doomed:
            names = {_path(text) for text in run.strings}
            mine = tuple(sorted(name for name in names if name.startswith(inputs)))
            notes[run.id] = CollectionNote(folder=read[run.id].folder, inputs=mine)
        named = {_path(text) for run in staying for text in run.strings}
        used = named | {path for run in ours if run.id not in gone for path in read[run.id].used}
        return _Plan(unfinished, doomed, notes, used, named)

    def _remove_files(self, plan: _Plan, run_id: str, note: CollectionNote, dry_run: bool) -> None:
        """Remove the files of a run that is gone; the note stays as long as another run uses some of them."""
        by_task = _by_task(self._bucket.files(note.folder) if note.folder else (), note.folder or "")
        used = {task for task in by_task if any(_is_below(path, task) for path in plan.used)}
        for task in sorted(by_task.keys() - used):
            self._remove(plan, task, by_task[task], dry_run)
        waits = False
        for path in note.inputs:
            files = self._bucket.files(path)
            if not files or any(_is_below(name, path) for name in plan.named):
                continue
            if self._now - max(file.changed for file in files) <= 2 * FRESH:
                # A command that uploaded it, or found it there, may be about to start its run.
                waits = True
            else:
                self._remove(plan, path, files, dry_run)
        if not used and not waits and not dry_run:
            self._bucket.delete(_path(f"{self._folder}/{run_id}.json"))

    def _remove(self, plan: _Plan, path: str, files: Sequence[StoredFile], dry_run: bool) -> None:
        plan.items.append(path)
        plan.size += sum(file.bytes for file in files)
        if not dry_run:
            self._bucket.delete(path)

    def _notes(self, existing: set[str]) -> dict[str, CollectionNote]:
        """Read the notes of runs that are deleted; one whose run is still there is written again if it is to go."""
        notes = {}
        for file in self._bucket.files(_path(self._folder)):
            run_id = file.path.rpartition("/")[2].removesuffix(".json")
            if run_id not in existing:
                notes[run_id] = CollectionNote.parse(json.loads(self._bucket.read(file.path)), file.path)
        return notes

    def _has_version(self, read: "_Read") -> bool:
        """Return whether a run registered a version that the registry still lists."""
        for file in self._bucket.files(read.folder) if read.folder else ():
            if file.path.endswith(f"/release/{RegisteredVersion.FILE}"):
                release = RegisteredVersion.parse(json.loads(self._bucket.read(file.path)), file.path)
                return release.name == self._project and not release.unchanged and release.version in self._versions
        return False

    def _read(self, run: _ServerRun) -> "_Read":
        with self._server.asked("show a run's workflow"):
            workflow = manifest.read(self._server.get(f"/apis/v1beta1/runs/{run.id}"))
        # The addresses that its drivers handed out, also to steps that failed.
        own = re.search(rf'[a-z0-9]+://([^"\\\s]+)/{run.id}/', json.dumps(workflow.nodes))
        folder = f"{own[1]}/{run.id}" if own else None
        return _Read(folder, {_path(uri) for uri in artifacts.located(workflow).values()})

    def _ours(self, everything: Sequence[_ServerRun]) -> list[_ServerRun]:
        names = (pipeline_name(self._project, entry) for entry in catalog.PIPELINES)
        ids = {found for name in names if (found := submission.find_pipeline(self._server, name))}
        return [run for run in everything if run.pipeline_id in ids]

    def _unfinished(self, everything: Sequence[_ServerRun]) -> list[_ServerRun]:
        return [run for run in self._ours(everything) if run.state not in ENDED]

    def _everything(self) -> list[_ServerRun]:
        """List the runs of all experiments: a bundle has the name of its content, whoever uses it."""
        client, runs = self._server.client, list[Any]()
        for experiment in self._pages("experiments", client.list_experiments):
            runs += self._pages("runs", client.list_runs, experiment_id=experiment.experiment_id)
        return [_server_run(run, run.run_id, run.state or "PENDING") for run in runs]

    def _schedules(self) -> list[_ServerRun]:
        client, schedules = self._server.client, list[Any]()
        for experiment in self._pages("experiments", client.list_experiments):
            schedules += self._pages(
                "recurring_runs", client.list_recurring_runs, experiment_id=experiment.experiment_id
            )
        return [_server_run(schedule, schedule.recurring_run_id, None) for schedule in schedules]

    def _pages(self, kind: str, listing: Any, **options: Any) -> Iterator[Any]:
        token = ""
        while True:
            with self._server.asked(f"list its {kind.replace('_', ' ')}"):
                answer = listing(page_token=token, page_size=_PAGE, namespace=self._server.target.namespace, **options)
            yield from getattr(answer, kind) or ()
            token = answer.next_page_token or ""
            if not token:
                return


@dataclass(frozen=True)
class _Read:
    """Where a run's own files are (None: it wrote none), and what of any run it read or wrote."""

    folder: str | None
    used: set[str]


def _server_run(answer: Any, run_id: str, state: str | None) -> _ServerRun:
    reference, config = answer.pipeline_version_reference, answer.runtime_config
    parameters: Mapping[str, Any] = (config.parameters if config else None) or {}
    strings = tuple(value for value in parameters.values() if isinstance(value, str) and "://" in value)
    pipeline_id = reference.pipeline_id if reference else None
    return _ServerRun(run_id, answer.display_name, state, pipeline_id, answer.created_at, strings)


def _encoded(note: CollectionNote) -> bytes:
    return json.dumps(note.as_json(), sort_keys=True).encode()


def _by_task(files: Iterable[StoredFile], folder: str) -> dict[str, list[StoredFile]]:
    """Group the files of a run by the folder of their task."""
    groups: dict[str, list[StoredFile]] = {}
    for file in files:
        task = file.path.removeprefix(f"{folder}/").partition("/")[0]
        groups.setdefault(f"{folder}/{task}", []).append(file)
    return groups


def _under_way(unfinished: Sequence[_ServerRun]) -> tuple[str, ...]:
    if not unfinished:
        return ()
    return (
        f"run {unfinished[0].name} ({unfinished[0].id}) is under way and may read files of any earlier one; nothing "
        "more is removed from the bucket before it has ended, call again then",
    )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _path(uri: str) -> str:
    """Return the path of an address in the one server of buckets, whatever KFP and Arrow call its scheme.

    >>> _path("minio://mlpipeline/a/"), _path("s3://mlpipeline/a")
    ('mlpipeline/a', 'mlpipeline/a')
    """
    return uri.partition("://")[2].rstrip("/") if "://" in uri else uri.rstrip("/")
