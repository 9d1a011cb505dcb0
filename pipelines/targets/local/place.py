"""The places on this machine where a pipeline can run."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from components.shared.project import Project
from pipelines.targets.local.endpoint import Running
from pipelines.targets.local.seam import Tasks
from pipelines.targets.model import Docker, Laptop
from pipelines.targets.state import State


class Place(Protocol):
    """Where steps and the model server run."""

    @property
    def references(self) -> Mapping[str, str]:
        """Image reference of each step, and of ``serving``."""

    def tasks(self, run: str) -> AbstractContextManager[Tasks]:
        """Take tasks of a run; none outlives the context, nor the command that is in it."""

    def serve(self, endpoint: Path, *, host: str = "127.0.0.1", port: int = 0, grpc_port: int | None = 0) -> Running:
        """Start a model server on an endpoint; see ``pipelines.targets.local.endpoint.start``."""


def open_place(
    target: Laptop | Docker,
    project: Project,
    state: State,
    names: Iterable[str],
    announce: Callable[[str], None] = lambda sentence: None,
) -> Place:
    """Make what a target needs to run steps, or ``serving``, and is missing.

    Args:
        target: The place.
        project: Whose steps.
        state: The project's folders.
        names: Steps, or ``serving``.
        announce: Told in a sentence of whatever takes a while.

    Raises:
        InputError: If the platform or the target won't do.
        StepFailed: If a virtualenv or an image can't be made, or no Docker engine answers.
    """
    if isinstance(target, Docker):
        from pipelines.targets.docker.place import open_engine

        return open_engine(target, project, state, names, announce)
    from pipelines.targets.laptop.place import Virtualenvs

    return Virtualenvs.prepared(project, names, announce)
