"""Remove runs of a project from a Kubeflow Pipelines server, and what only they hold from its bucket.

A run is deleted at the server first: its tasks leave the cache with it, so no later run reads their files. A note in
the bucket says what else is to go, so that whoever collects next finishes what a killed process left:

1. Write the note of each run that nothing needs, then delete the run.
2. Unless a run is under way, which may have read the cache before: delete the files of each note that no other run
   uses, then the bundle and the tables that no run and no schedule names, then the note.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from components.shared.documents.document import Document
from components.shared.documents.release import RegisteredVersion
from pipelines.targets.kfp.server_runs import RunFiles, ServerRun, ServerRuns, path_of
from pipelines.targets.protocol import Collected
from pipelines.targets.remote.storage import FRESH, Bucket, StoredFile


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
    used: set[str]
    """Paths that what stays has read or names."""
    named: set[str]
    """Paths that a run or a schedule that stays names."""
    items: list[str] = field(default_factory=list)
    bytes: int = 0


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

        A run is needed while it is under way, if it is one of the newest ``keep``, or if it registered a version that
        the registry still lists. A task's files are needed if a needed run read them, also where another had made them.

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
        for run_id, note in plan.notes.items():
            self._remove_files(plan, run_id, note, dry_run)
        return Collected(tuple(plan.items), plan.bytes)

    def _under_way(self) -> tuple[str, ...]:
        """Say that a run of the project is under way, if one is."""
        for run in self._runs.of_project(self._project, self._runs.everything()):
            if run.is_under_way:
                return (
                    f"run {run.name} ({run.id}) is under way and may read files of any earlier one; nothing more is "
                    "removed from the bucket before it has ended, call again then",
                )
        return ()

    def _plan(self, keep: int) -> _Plan:
        everything = self._runs.everything()
        own = self._runs.of_project(self._project, everything)
        files = {run.id: self._runs.files(run) for run in own}
        newest = {run.id for run in own[:keep]} | {run.id for run in own if run.is_under_way}
        doomed = [run for run in own if run.id not in newest and not self._has_version(files[run.id])]
        gone = {run.id for run in doomed}
        staying = [run for run in (*everything, *self._runs.schedules()) if run.id not in gone]
        named = {path for run in staying for path in run.paths}
        used = named | {path for run in own if run.id not in gone for path in files[run.id].used}
        notes = self._notes(existing={run.id for run in everything})
        inputs = tuple(f"{path_of(self._bucket.uri)}/{folder}/" for folder in ("bundles", "tables"))
        for run in doomed:
            read = tuple(sorted(path for path in run.paths if path.startswith(inputs)))
            notes[run.id] = CollectionNote(folder=files[run.id].folder, inputs=read)
        return _Plan(doomed, notes, used, named)

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

    def _remove_files(self, plan: _Plan, run_id: str, note: CollectionNote, dry_run: bool) -> None:
        """Remove the files of a run that is gone; the note stays as long as some of them do."""
        tasks = _by_task(self._bucket.files(note.folder) if note.folder else (), note.folder or "")
        used = {task for task in tasks if any(_is_below(path, task) for path in plan.used)}
        for task in sorted(tasks.keys() - used):
            self._remove(plan, task, tasks[task], dry_run)
        waits = False
        for path in note.inputs:
            files = self._bucket.files(path)
            if not files or any(_is_below(name, path) for name in plan.named):
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


def _by_task(files: Iterable[StoredFile], folder: str) -> dict[str, list[StoredFile]]:
    """Group the files of a run by the folder of their task."""
    groups: dict[str, list[StoredFile]] = {}
    for file in files:
        task = file.path.removeprefix(f"{folder}/").partition("/")[0]
        groups.setdefault(f"{folder}/{task}", []).append(file)
    return groups


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
