"""The record of one run while it continues: its steps, their states and outputs, and what it ended with."""

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from components.shared.documents.run_record import RunRecord, StepRecord, StepState
from components.shared.errors import InputError, StepFailed

OK, BUG, BAD_INPUT, REJECTED, BLOCKED, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_CODES = {"InputError": BAD_INPUT, "GateRejected": REJECTED, "DataBlocked": BLOCKED, "StepFailed": FAILED}
# An error of a step's own is one of these by inheritance, which a log does not say: StepFailed's code.
_OURS = re.compile(r"^components\.(?:\w+\.)+(\w+): (.+)$")
# As the system, SQLite and DuckDB say it.
_FULL = re.compile(r"No space left on device|database or disk is full|\[Errno 28\]")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b.*$")


@dataclass
class Step:
    """One step of a run."""

    name: str
    state: StepState = "pending"
    seconds: float | None = None
    log: str | None = None
    error: str | None = None

    @property
    def cached(self) -> bool:
        """Say whether the step's outputs came from the cache."""
        return self.state == "cached"


@dataclass
class Run:
    """One run of a pipeline; ``exit_code`` is None while it continues."""

    id: str
    project: str
    pipeline: str
    folder: Path
    started: str
    steps: list[Step]
    exit_code: int | None = None
    reason: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    remote: str | None = None
    """The run's id at its server; None for one on this machine."""
    server: str | None = None
    """Where it runs, see ``RunRecord``."""
    run_key: str | None = None
    registry_state: str | None = None
    repeats: str | None = None
    seed: int | None = None
    commit: str | None = None
    contents: dict[str, str] = field(default_factory=dict)

    def step(self, name: str) -> Step:
        """Return a step by its name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def state(self) -> str:
        """Say in a word or two how the run ended, or that it is running."""
        words = {
            None: "running", OK: "finished", BUG: "bug", BAD_INPUT: "bad input", REJECTED: "rejected",
            BLOCKED: "data blocked", FAILED: "failed", INTERRUPTED: "interrupted",
        }  # fmt: skip
        return words[self.exit_code]

    def document(self) -> RunRecord:
        """Return the record as the document that is kept."""
        plain = asdict(self) | {"folder": str(self.folder), "state": self.state}
        plain["steps"] = tuple(StepRecord(**asdict(step), cached=step.cached) for step in self.steps)
        plain["outputs"] = {name: _plain(value) for name, value in self.outputs.items()}
        return RunRecord(**plain)

    def as_dict(self) -> dict[str, Any]:
        """Return what the record holds, as plain values."""
        return self.document().model_dump(mode="json")

    def save(self) -> None:
        """Write the record; a reader sees the old one or the new one, never half."""
        self.document().kept(_home(self.folder)).write(self.folder)


def _home(folder: Path) -> Path:
    """Return the folder that a run's paths are relative to: the one that holds ``runs/``."""
    return folder.parent.parent


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool | list | dict) else str(value)


def new(project: str, pipeline: str, steps: Sequence[str], runs_folder: Path, now: datetime) -> Run:
    """Begin a record in a folder of its own, named by the time."""
    identifier = now.strftime("%Y%m%dT%H%M%S_%f")
    folder = runs_folder / identifier
    (folder / "logs").mkdir(parents=True)
    started = now.isoformat(timespec="seconds")
    run = Run(identifier, project, pipeline, folder, started, [Step(name) for name in steps])
    run.save()
    return run


class Recorder:
    """Records the state of each task, and notifies an observer."""

    def __init__(self, run: Run, changed: Callable[[Step], None]) -> None:
        self._run, self._changed, self._lock = run, changed, threading.Lock()

    def started(self, step: str, log: Path) -> None:
        """Note that a task's process is about to start."""
        self._set(step, "running", log=log)

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        """Note how a task ended, and why where it failed."""
        self._note(step, outputs)
        self._set(step, "done" if exit_code == 0 else "failed", seconds=seconds, exit_code=exit_code)

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        """Note a task whose outputs were in the cache."""
        self._note(step, outputs)
        self._set(step, "cached", seconds=0.0)

    def _note(self, step: str, outputs: dict[str, Any]) -> None:
        for name, value in outputs.items():
            if isinstance(value, str) and value.startswith("/"):
                self._run.artifacts[f"{step}.{name}"] = value
            else:
                self._run.outputs[f"{step}.{name}"] = value

    def _set(
        self, name: str, state: StepState, seconds: float | None = None, log: Path | None = None, exit_code: int = 0
    ) -> None:
        with self._lock:
            step = self._run.step(name)
            step.state, step.seconds = state, seconds
            step.log = str(log) if log else step.log
            if state == "failed":
                code, step.error = cause(Path(step.log) if step.log else None, exit_code)
                self._run.exit_code, self._run.reason = code, step.error
            self._run.save()
        self._changed(step)


def cause(log: Path | None, exit_code: int) -> tuple[int, str]:
    """Read from a step's log why it failed.

    Every target can show the log of a step, so the last line of its traceback is what carries the error's class and
    sentence to the command.

    Args:
        log: The step's log, if there is one.
        exit_code: Of its process; negative or above 128 when a signal ended it.

    Returns:
        The command's exit code and one sentence.
    """
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log and log.exists() else []
    for line in reversed(lines):
        if ours := _OURS.match(line):
            return _CODES.get(ours[1], FAILED), ours[2]
        if _RAISED.match(line) and _FULL.search(line):
            return FAILED, "the disk is full; free some space ('perennial gc' removes old runs) and run again."
        if _RAISED.match(line):
            return FAILED, f"it raised {line}"
    signal = -exit_code if exit_code < 0 else exit_code - 128
    if signal == 9:
        return FAILED, "it was killed (signal 9); the usual cause is that the machine ran out of memory."
    if signal > 0:
        return FAILED, f"it was ended by signal {signal}."
    return FAILED, f"it ended with exit code {exit_code} and no traceback."


def end(run: Run, exit_code: int, reason: str | None) -> None:
    """Close a record and save it."""
    _close(run, exit_code, reason)
    run.save()


def interrupt(run: Run) -> None:
    """Close the record of a run whose command was killed, in memory only."""
    _close(run, INTERRUPTED, "the command was killed.")


def _close(run: Run, exit_code: int, reason: str | None) -> None:
    """Close a record: what never ran was skipped, what was cut off failed."""
    for step in run.steps:
        if step.state == "pending":
            step.state = "skipped"
        elif step.state == "running":
            step.state, step.error = "failed", "interrupted"
    run.exit_code, run.reason = exit_code, reason


def load(path: Path) -> Run:
    """Read a record back from its ``run.json``.

    Raises:
        InputError: If the file is truncated or is not a record of a run.
    """
    try:
        document = RunRecord.read(path).found(_home(path.parent))
    except StepFailed as error:
        raise InputError(
            f"the record of the run {path.parent.name} cannot be read ({str(error).partition(';')[0]}); expected what "
            f"'perennial run' writes. Delete {path.parent}, or restore the file from a backup."
        ) from error
    steps = [Step(**step.model_dump(exclude={"cached"})) for step in document.steps]
    content = document.model_dump(exclude={"schema_version", "folder", "state", "steps"})
    return Run(**content, folder=path.parent, steps=steps)


def records(runs_folder: Path, unreadable: Callable[[InputError], None] = lambda error: None) -> Iterator[Run]:
    """Yield the records of a project, the newest first.

    Args:
        runs_folder: One folder per run.
        unreadable: Receives the error for each record that cannot be read; that record is left out.
    """
    for path in sorted(runs_folder.glob(f"*/{RunRecord.FILE}"), reverse=True):
        try:
            yield load(path)
        except InputError as error:
            unreadable(error)


def settle(runs_folder: Path) -> list[str]:
    """Close the records of runs that were killed before they could; the caller holds the project's lock.

    Returns:
        Their ids.
    """
    # A run on a cluster continues without the command.
    killed = [run for run in records(runs_folder) if run.exit_code is None and run.remote is None]
    for run in killed:
        interrupt(run)
        run.save()
    return sorted(run.id for run in killed)


def latest(runs_folder: Path) -> Run | None:
    """Read the newest record, or None before the first run."""
    return next(records(runs_folder), None)


def latest_with(runs_folder: Path, artifact: str) -> Run | None:
    """Read the newest record whose run made an artifact that still exists."""
    return next(
        (run for run in records(runs_folder) if artifact in run.artifacts and Path(run.artifacts[artifact]).exists()),
        None,
    )
