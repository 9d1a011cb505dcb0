"""The record of a run: which pipeline ran, how each step ended, and what the run ended with."""

from typing import Any, ClassVar, Literal

from components.shared.documents.document import Document, Part

StepState = Literal["pending", "running", "done", "cached", "failed", "skipped"]


class StepRecord(Part):
    """How one step of a run ended."""

    name: str
    state: StepState = "pending"
    seconds: float | None = None
    log: str | None = None
    """Path of its log on this machine."""
    error: str | None = None
    cached: bool = False


class RunRecord(Document):
    """One run of a pipeline, as the command stores it with the run's files."""

    FILE: ClassVar[str] = "run.json"
    VERSION: ClassVar[int] = 1

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
    """``step.output`` -> path on this machine."""
    remote: str | None
    """The run's id at its server; None for a run on this machine."""
    run_key: str | None = None
    """Digest of all that decided the results, except the registry; None where it was not computed."""
    registry_state: str | None = None
    """Digest of the registry as the run left it; None if the run came to no verdict."""
    repeats: str | None = None
    """The id of the earlier run whose results this one has, because nothing had changed; None if it ran."""

    @classmethod
    def upgraded(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Read a record of version 0, from when there was one pipeline and every run was of it."""
        return {"pipeline": "training", "remote": None, **content}
