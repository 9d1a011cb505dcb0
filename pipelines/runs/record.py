"""The record of one run: its steps, their states and outputs, what it ended with; kept as JSON beside its files."""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

State = Literal["pending", "running", "done", "cached", "failed", "skipped"]

OK, BUG, BAD_INPUT, REJECTED, BLOCKED, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_CODES = {"InputError": BAD_INPUT, "GateRejected": REJECTED, "DataBlocked": BLOCKED, "StepFailed": FAILED}
# An error of a step's own is one of these by inheritance, which a log does not say: StepFailed's code.
_OURS = re.compile(r"^components\.(?:\w+\.)+(\w+): (.+)$")
# The order of the pipeline file, for those who look at a run; kfp's own IR sorts by name.
ORDER = (
    "ingestion", "champion", "data_validation", "feature_retrieval", "split", "tuning", "training", "evaluation",
    "gate", "registration", "deployment", "rejection",
)  # fmt: skip
# As the system, SQLite and DuckDB say it.
_FULL = re.compile(r"No space left on device|database or disk is full|\[Errno 28\]")
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning)\b.*$")


@dataclass
class Step:
    """One step of a run."""

    name: str
    state: State = "pending"
    seconds: float | None = None
    log: str | None = None
    error: str | None = None

    @property
    def cached(self) -> bool:
        """Say whether the step's outputs came from the cache."""
        return self.state == "cached"


@dataclass
class Run:
    """One run of a pipeline; ``exit_code`` is None while it goes on."""

    id: str
    project: str
    folder: Path
    started: str
    steps: list[Step]
    exit_code: int | None = None
    reason: str | None = None
    outputs: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    remote: str | None = None
    """The run's id at its server; None for one on this machine."""

    def step(self, name: str) -> Step:
        """Return a step by its name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def state(self) -> str:
        """Say in one word how the run stands."""
        words = {
            None: "running", OK: "finished", BUG: "bug", BAD_INPUT: "bad input", REJECTED: "rejected",
            BLOCKED: "data blocked", FAILED: "failed", INTERRUPTED: "interrupted",
        }  # fmt: skip
        return words[self.exit_code]

    def as_dict(self) -> dict[str, Any]:
        """Return what the record holds, as plain values."""
        plain = asdict(self) | {"folder": str(self.folder), "state": self.state}
        for step, entry in zip(self.steps, plain["steps"], strict=True):
            entry["cached"] = step.cached
        return plain

    def save(self) -> None:
        """Write the record; a reader sees the old or the new one, never half."""
        partial = self.folder / "run.json.partial"
        partial.write_text(json.dumps(self.as_dict(), indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self.folder / "run.json")


def new(project: str, steps: list[str], runs_folder: Path, now: datetime) -> Run:
    """Begin a record in a folder of its own, named by the time."""
    identifier = now.strftime("%Y%m%dT%H%M%S_%f")
    folder = runs_folder / identifier
    (folder / "logs").mkdir(parents=True)
    run = Run(identifier, project, folder, now.isoformat(timespec="seconds"), [Step(name) for name in steps])
    run.save()
    return run


class Recorder:
    """Follows a run's tasks into its record, and tells whoever watches."""

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
        self, name: str, state: State, seconds: float | None = None, log: Path | None = None, exit_code: int = 0
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


def verdict(run: Run) -> tuple[int, str | None]:
    """Say with which exit code a run that came to its end ended, and why."""
    if run.exit_code is not None:
        return run.exit_code, run.reason
    if run.step("rejection").state in ("done", "cached"):
        return REJECTED, None
    if run.step("deployment").state in ("done", "cached"):
        return OK, None
    return FAILED, f"the orchestrator stopped early; see {run.folder / 'logs' / 'kfp.log'}."


def end(run: Run, exit_code: int, reason: str | None) -> None:
    """Close a record: what never ran was skipped, what was cut off failed."""
    for step in run.steps:
        if step.state == "pending":
            step.state = "skipped"
        elif step.state == "running":
            step.state, step.error = "failed", "interrupted"
    run.exit_code, run.reason = exit_code, reason
    run.save()


def load(path: Path) -> Run:
    """Read a record back from its ``run.json``."""
    record = json.loads(path.read_text(encoding="utf-8"))
    steps = [Step(step["name"], step["state"], step["seconds"], step["log"], step["error"]) for step in record["steps"]]
    kept = {name: record[name] for name in ("id", "project", "started", "exit_code", "reason", "outputs", "artifacts")}
    return Run(**kept, remote=record.get("remote"), folder=path.parent, steps=steps)


def settle(runs_folder: Path) -> list[str]:
    """Close the records of runs that were killed before they could; the caller holds the project's lock.

    Returns:
        Their ids.
    """
    settled = []
    for path in sorted(runs_folder.glob("*/run.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        # A run on a cluster goes on without the command.
        if record["exit_code"] is None and record.get("remote") is None:
            end(load(path), INTERRUPTED, "the command was killed.")
            settled.append(record["id"])
    return settled


def latest(runs_folder: Path) -> dict[str, Any] | None:
    """Read the newest record, or None before the first run."""
    records = sorted(runs_folder.glob("*/run.json"))
    return json.loads(records[-1].read_text(encoding="utf-8")) if records else None


def latest_with(runs_folder: Path, artifact: str) -> dict[str, Any] | None:
    """Read the newest record whose run made an artifact that is still there."""
    for path in sorted(runs_folder.glob("*/run.json"), reverse=True):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if Path(record["artifacts"].get(artifact, "")).is_dir() and artifact in record["artifacts"]:
            return record
    return None
