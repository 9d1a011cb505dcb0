"""Where a project keeps its state: one folder next to the project file, and one lock for processes that change it."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import filelock
import psutil

from components.shared.errors import InputError
from components.shared.incidents.folders import IncidentFolders
from pipelines.project.project_file import FILE_NAME
from pipelines.targets.model import Services

_SQLITE = "sqlite:///"
_LOOK_S = 0.2


@dataclass(frozen=True)
class State:
    """The folders of a project, and the services of the target on which it runs; ``root`` holds project.yaml."""

    root: Path
    services: Services

    @property
    def folder(self) -> Path:
        """All that is written at run time."""
        return self.root / ".perennial"

    @property
    def project_file(self) -> Path:
        """The project file itself."""
        return self.root / FILE_NAME

    @property
    def loop(self) -> Path:
        """What the loop remembers between its rounds."""
        return self.folder / "loop"

    @property
    def bundles(self) -> Path:
        """Content-addressed project bundles."""
        return self.folder / "bundles"

    @property
    def cache(self) -> Path:
        """kfp's task cache."""
        return self.folder / "cache"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.folder / "runs"

    @property
    def studies(self) -> Path | None:
        """Journals of tuning studies, which outlive a run; None where they are kept in a database."""
        return None if "://" in self.services.studies else self.root / self.services.studies

    @property
    def study_storage(self) -> str:
        """The storage of the studies, as the tuning step takes it."""
        return str(self.studies or self.services.studies)

    @property
    def endpoint(self) -> Path:
        """What the local endpoint and the deployment step agree on."""
        return self.root / self.services.endpoint

    @property
    def online_store(self) -> str:
        """Feast's online store: a folder, or the address of a Redis server."""
        return self.services.online_store

    @property
    def inference_log(self) -> Path:
        """Where the server logs the requests that it answers."""
        return self.root / self.services.inference_log

    @property
    def scores(self) -> Path:
        """The batches that were scored, a folder for each."""
        return self.folder / "scores"

    @property
    def incidents(self) -> Path:
        """What monitoring found and somebody has to deal with."""
        return self.folder / "incidents"

    @property
    def incident_folders(self) -> IncidentFolders:
        """Where incidents and the messages about them are kept."""
        return IncidentFolders(self.incidents, self.outbox, self.root)

    @property
    def metrics(self) -> Path | str:
        """Where monitoring leaves its metrics: a folder, or the address of a push gateway."""
        where = self.services.metrics
        return where if "://" in where else self.root / where

    @property
    def audit(self) -> Path:
        """What was decided, in the order of time; see ``components/shared/audit.py``."""
        return self.folder / "audit.jsonl"

    @property
    def outbox(self) -> Path:
        """Messages about incidents that were not delivered yet."""
        return self.folder / "outbox"

    @property
    def labels(self) -> Path:
        """Labels that became known after the prediction."""
        return self.root / self.services.labels

    @property
    def outcomes(self) -> Path:
        """Figures of entities that are no labels, such as what they bought; A/B tests compare them."""
        return self.folder / "outcomes"

    @property
    def registry_uri(self) -> str:
        """The address of MLflow."""
        return self.services.registry

    @property
    def registry_exists(self) -> bool:
        """Say whether there is a registry to ask; a file is made by the first run."""
        return self.registry_file is None or self.registry_file.exists()

    @property
    def registry_file(self) -> Path | None:
        """MLflow's database file; None where a server holds the registry."""
        uri = self.registry_uri
        return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None

    def create_folder(self) -> None:
        """Create ``folder`` where it is absent, for its owner only: it holds what people are and what they asked.

        A folder that exists keeps its mode, which may have been opened for a group.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self) -> None:
        """Make the folders that a run writes to."""
        self.create_folder()
        folders = (self.bundles, self.cache, self.runs, self.studies, self.endpoint)
        for folder in (folder for folder in folders if folder is not None):
            folder.mkdir(parents=True, exist_ok=True)


def root_of(project: Path) -> Path:
    """Return the folder of a project, which a path names by itself or by its project.yaml.

    Raises:
        InputError: If the path names another file.
    """
    if project.name != FILE_NAME and project.is_file():
        raise InputError(
            f"{str(project)!r} is a file, and not called {FILE_NAME}; expected a project's folder or its {FILE_NAME}."
        )
    return (project.parent if project.name == FILE_NAME else project).resolve()


@contextlib.contextmanager
def exclusive(state: State, command: str, wait: bool) -> Iterator[None]:
    """Hold the project's lock, which the kernel drops when its holder dies.

    Args:
        state: The project's state.
        command: What the holder is doing, shown to a second process.
        wait: Wait for the holder instead of leaving.

    Raises:
        InputError: If another process holds the lock and ``wait`` is false; it names the process.
    """
    state.create_folder()
    note = state.folder / "lock.json"
    lock = filelock.FileLock(state.folder / "lock")
    try:
        lock.acquire(timeout=-1 if wait else _LOOK_S)
    except filelock.Timeout:
        raise InputError(f"{_holder(note)} works on this project; wait for it with --wait, or stop it.") from None
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        note.write_text(json.dumps({"pid": os.getpid(), "command": command, "since": now}) + "\n", encoding="utf-8")
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def holder(state: State) -> str | None:
    """Return what the process that holds the project's lock is doing, such as "run"; None if nobody holds it."""
    try:
        with (state.folder / "lock").open() as lock:
            # Shared, and for a moment only: whoever wants the lock tries for longer.
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        try:
            return str(json.loads((state.folder / "lock.json").read_text(encoding="utf-8"))["command"])
        except (OSError, ValueError, KeyError):
            return "starting"


def _holder(note: Path) -> str:
    """Name the process that holds the lock."""
    try:
        held = json.loads(note.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return "another process"
    alive = "" if psutil.pid_exists(held["pid"]) else " (ending)"
    return f"process {held['pid']}{alive}, 'perennial {held['command']}' since {held['since']},"
