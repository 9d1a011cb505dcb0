"""Remove runs of a project from a Kubeflow Pipelines server, and what only they hold from its bucket.

A run is deleted at the server first: its tasks leave the cache with it, so no later run reads their files. A note in
the bucket says what else is to go, so that whoever collects next finishes what a killed process left:

1. Write the note of each run that nothing needs, then delete the run.
2. Unless a run is under way, which may have read the cache before: see what the runs that are there now use, then
   delete the files of each note that none of them uses, the bundle and the tables that no run and no schedule names,
   and the note.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, NamedTuple

from components.shared import bundle
from components.shared.documents.document import Document
from components.shared.documents.release import RegisteredVersion
from pipelines.targets.kfp.server_runs import RunFiles, ServerRun, ServerRuns, path_of
from pipelines.targets.protocol import Collected
from pipelines.targets.remote.storage import COMPLETE, FRESH, Bucket, StoredFile


class CollectionNote(Document):
    """What is to go with a run that is deleted.

    Args:
        folder: Path of the run's own files; None if it wrote none.
        inputs: Paths of the bundle and the tables that it read.
    """

    FILE: ClassVar[str] = "collecting.json"

    folder: str | None
    inputs: tuple[str, ...]


@dataclass
class _Plan:
    """What is to be done, and what has been done so far."""

    doomed: list[ServerRun]
    notes: dict[str, CollectionNote]
    """Id of a run that is gone, or will be, to its note."""
    kept: list[str]
    """Sentences about what stays although no rule asks for it."""
    items: list[str] = field(default_factory=list)
    bytes: int = 0


class _Needed(NamedTuple):
    """What must stay."""

    used: frozenset[str]
    """Paths that the runs which stay have read, written or name."""
    named: frozenset[str]
    """Paths that a run or a schedule which stays names."""


class Housekeeping:
    """What one project leaves at a server.

    Args:
        runs: The runs of the server.
        bucket: Where bundles and tables are, on the server of all other files.
        project: Its name.
        versions: Versions that the registry lists.
        now: Says how old a file is.
    """

    def __init__(self, runs: ServerRuns, bucket: Bucket, project: str, versions: Iterable[str], now: datetime) -> None:
        self._runs, self._bucket, self._project = runs, bucket, project
        self._versions, self._now = set(versions), now
        self._folder = f"{bucket.uri}/collecting/{project}"

    def collect(self, keep: int, *, dry_run: bool) -> Collected:
        """Remove what nothing needs.

        A run is needed while it is under way, if it is one of the newest ``keep`` of its pipeline, or if it registered
        a version that the registry still lists. A task's files are needed if a needed run read them, also where another
        had made them. A run of which the server does not say where its files are stays, and so do all files then.

        Raises:
            InputError: If the server or the bucket refuses.
            StepFailed: If one of them does not answer, or a note cannot be read.
        """
        if kept := self._under_way():
            return Collected((), 0, kept)
        plan = self._plan(keep)
        for run in plan.doomed:
            plan.items.append(f"run {run.name} ({run.id})")
            if not dry_run:
                content = json.dumps(plan.notes[run.id].as_json(), sort_keys=True)
                self._bucket.write(self._note(run.id), content.encode())
                self._runs.delete(run)
        # A run that began meanwhile may have been answered from the cache before the runs were deleted.
        if not dry_run and (kept := self._under_way()):
            return Collected(tuple(plan.items), 0, kept)
        if not plan.kept:
            needed = self._needed(without={run.id for run in plan.doomed})
            for run_id, note in plan.notes.items():
                self._remove_files(plan, needed, run_id, note, dry_run)
        return Collected(tuple(plan.items), plan.bytes, tuple(plan.kept))

    def _own(self, runs: Sequence[ServerRun]) -> list[ServerRun]:
        return self._runs.of_project(self._project, runs, self._is_of_project)

    def _is_of_project(self, run: ServerRun) -> bool:
        """Return whether a run read a bundle of the project; one whose bundle is gone is not known to."""
        folder = f"{path_of(self._bucket.uri)}/bundles/"
        for path in (path for path in run.paths if path.startswith(folder)):
            for file in self._bucket.files(path):
                return bundle.name(self._bucket.read(file.path)) == self._project
        return False

    def _under_way(self) -> tuple[str, ...]:
        """Say that a run of the project is under way, if one is."""
        for run in self._own(self._runs.everything()):
            if run.is_under_way:
                return (
                    f"run {run.name} ({run.id}) is under way and may read files of any earlier one; nothing more is "
                    "removed from the bucket before it has ended, call again then",
                )
        return ()

    def _plan(self, keep: int) -> _Plan:
        everything = self._runs.everything()
        own = self._own(everything)
        newest = {run.id for run in own if run.is_under_way}
        for pipeline_id in {run.pipeline_id for run in own}:
            newest |= {run.id for run in [run for run in own if run.pipeline_id == pipeline_id][:keep]}
        files = {run.id: self._runs.files(run) for run in own}
        unknown = [run for run in own if not files[run.id].is_known]
        rest = [run for run in own if run.id not in newest and files[run.id].is_known]
        doomed = [run for run in rest if not self._has_version(files[run.id])]
        notes = self._notes(existing={run.id for run in everything})
        inputs = tuple(f"{path_of(self._bucket.uri)}/{folder}/" for folder in ("bundles", "tables"))
        for run in doomed:
            read = tuple(sorted(path for path in run.paths if path.startswith(inputs)))
            notes[run.id] = CollectionNote(folder=files[run.id].folder, inputs=read)
        kept = [
            f"run {run.name} ({run.id}) succeeded, but the server does not say any more what it read and wrote; it "
            "stays, and so do all files in the bucket, until you delete the run at the server"
            for run in unknown
        ]
        return _Plan(doomed, notes, kept)

    def _needed(self, without: Collection[str]) -> _Needed:
        """See what the runs and schedules that are there now name and use, but those of some ids."""
        everything = [run for run in self._runs.everything() if run.id not in without]
        named = {path for run in (*everything, *self._runs.schedules()) for path in run.paths}
        used = {path for run in self._own(everything) for path in self._runs.files(run).used}
        return _Needed(frozenset(named | used), frozenset(named))

    def _has_version(self, files: RunFiles) -> bool:
        """Return whether a run registered a version that the registry still lists."""
        for file in self._bucket.files(files.folder) if files.folder else ():
            if file.path.endswith(f"/release/{RegisteredVersion.FILE}"):
                release = RegisteredVersion.parse(json.loads(self._bucket.read(file.path)), file.path)
                return release.name == self._project and not release.unchanged and release.version in self._versions
        return False

    def _notes(self, existing: set[str]) -> dict[str, CollectionNote]:
        """Read the notes of runs that are deleted; one whose run is still there is written again if it is to go."""
        notes = {}
        for file in self._bucket.files(path_of(self._folder)):
            run_id = file.path.rpartition("/")[2].removesuffix(".json")
            if run_id not in existing:
                notes[run_id] = CollectionNote.parse(json.loads(self._bucket.read(file.path)), file.path)
        return notes

    def _note(self, run_id: str) -> str:
        return f"{self._folder}/{run_id}.json"

    def _remove_files(self, plan: _Plan, needed: _Needed, run_id: str, note: CollectionNote, dry_run: bool) -> None:
        """Remove the files of a run that is gone; the note stays as long as some of them do."""
        tasks = _by_task(self._bucket.files(note.folder) if note.folder else (), note.folder or "")
        used = {task for task in tasks if any(_is_below(path, task) for path in needed.used)}
        for task in sorted(tasks.keys() - used):
            self._remove(plan, task, tasks[task], dry_run)
        waits = False
        for path in note.inputs:
            files = self._bucket.files(path)
            if not files or any(_is_below(name, path) for name in needed.named) or not _is_uploaded(path, files):
                continue
            if self._now - max(file.changed for file in files) <= 2 * FRESH:
                # A command that uploaded it, or saw it there, may be about to start its run.
                waits = True
            else:
                self._remove(plan, path, files, dry_run)
        if not used and not waits and not dry_run:
            self._bucket.delete(path_of(self._note(run_id)))

    def _remove(self, plan: _Plan, path: str, files: Sequence[StoredFile], dry_run: bool) -> None:
        plan.items.append(path)
        plan.bytes += sum(file.bytes for file in files)
        if not dry_run:
            self._bucket.delete(path)


def _is_uploaded(path: str, files: Iterable[StoredFile]) -> bool:
    """Return whether a command put it there: a bundle, or tables to their end; a user may have tables there, too."""
    return path.endswith(".zip") or any(file.path == f"{path}/{COMPLETE}" for file in files)


def _by_task(files: Iterable[StoredFile], folder: str) -> dict[str, list[StoredFile]]:
    """Group the files of a run by the folder of their task."""
    groups: dict[str, list[StoredFile]] = {}
    for file in files:
        task = file.path.removeprefix(f"{folder}/").partition("/")[0]
        groups.setdefault(f"{folder}/{task}", []).append(file)
    return groups


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
