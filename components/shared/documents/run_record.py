"""The record of a run: which pipeline ran, how each step ended, and what the run ended with."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import Field

from components.shared import relative
from components.shared.documents.document import Document, Part

BUNDLE = "bundle"
"""The one output of a run that is a path."""

StepState = Literal["pending", "running", "done", "cached", "failed", "skipped"]


class StepRecord(Part):
    """How one step of a run ended."""

    name: str
    state: StepState = "pending"
    seconds: float | None = None
    log: str | None = None
    """Its log."""
    error: str | None = None
    cached: bool = False


class RunRecord(Document):
    """One run of a pipeline, as the command stores it with the run's files.

    Paths are relative to the folder that holds ``runs/``; those outside it, and all paths in memory, are absolute.
    """

    FILE: ClassVar[str] = "run.json"
    VERSION: ClassVar[int] = 2

    id: str
    project: str
    pipeline: str
    folder: str
    started: str
    """ISO time, UTC."""
    steps: tuple[StepRecord, ...]
    """In the order of the pipeline's source."""
    exit_code: int | None
    """None while the run continues."""
    state: str
    reason: str | None
    outputs: dict[str, Any]
    """``step.output`` -> value of a parameter."""
    artifacts: dict[str, str]
    """``step.output`` -> path."""
    remote: str | None
    """The run's id at its server; None for a run on this machine."""
    server: str | None = None
    """Where it runs: "kfp", or Vertex AI's project and region; None on this machine, and in records from before Vertex
    AI."""
    run_key: str | None = None
    """Digest of all that decided the results, except the registry; None where it was not computed."""
    registry_state: str | None = None
    """Digest of the registry as the run left it; None if the run came to no verdict."""
    repeats: str | None = None
    """The id of the earlier run whose results this one has, because nothing had changed; None if it ran."""
    seed: int | None = None
    """Of splits, search and training; None if the pipeline has none, and in older records."""
    commit: str | None = None
    """Of the code, or "unknown" outside a checkout; None in older records and for runs at a server."""
    contents: dict[str, str] = Field(default_factory=dict)
    """Step to the hash of its code and packages; empty in older records and for runs at a server."""

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Read a record of version 0 (one pipeline, and every run was of it) or 1 (all paths were absolute)."""
        home = PurePosixPath(content["folder"]).parents[1:2]
        content = {"pipeline": "training", "remote": None, **content}
        return _with_paths(content, lambda path: relative.kept(path, home[0])) if home else content

    def kept(self, home: Path) -> "RunRecord":
        """Return the record with paths relative to the folder that holds ``runs/``."""
        return RunRecord.model_validate(_with_paths(self.as_json(), lambda path: relative.kept(path, home)))

    def found(self, home: Path) -> "RunRecord":
        """Return the record with absolute paths."""
        return RunRecord.model_validate(_with_paths(self.as_json(), lambda path: relative.found(path, home)))


def _with_paths(content: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    steps = [{**step, "log": change(step["log"])} if step.get("log") else step for step in content["steps"]]
    artifacts = {name: change(path) for name, path in content["artifacts"].items()}
    outputs = dict(content["outputs"])
    if BUNDLE in outputs:
        outputs[BUNDLE] = change(str(outputs[BUNDLE]))
    return {**content, "folder": change(content["folder"]), "steps": steps, "artifacts": artifacts, "outputs": outputs}
