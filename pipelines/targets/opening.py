"""Open the backend of a target: the one function that knows which class belongs to which kind."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.targets import reading
from pipelines.targets.protocol import Backend
from pipelines.targets.state import State, root_of


def _laptop() -> type[Backend]:
    from pipelines.targets.laptop.backend import LaptopBackend

    return LaptopBackend


def _docker() -> type[Backend]:
    from pipelines.targets.docker.backend import DockerBackend

    return DockerBackend


def _kfp() -> type[Backend]:
    from pipelines.targets.kfp.backend import KfpBackend

    return KfpBackend


def _vertex() -> type[Backend]:
    from pipelines.targets.vertex.backend import VertexBackend

    return VertexBackend


# A backend imports what it talks to (Docker's or kfp's client), which takes seconds, so each is imported when opened.
BACKENDS: dict[str, Callable[[], type[Backend]]] = {
    "laptop": _laptop, "docker": _docker, "kfp": _kfp, "vertex": _vertex,
}  # fmt: skip
"""Kind of a target -> its backend."""


def open_backend(target: str = "laptop", project: Path = Path(), overrides: Sequence[str] = ()) -> Backend:
    """Open a target of a project; nothing is connected or built yet.

    Args:
        target: ``laptop``, ``docker``, ``kfp``, ``vertex``, a target of the project, or the path of a target file.
        project: The project's folder, or its project.yaml.
        overrides: ``key=value`` for single keys of the target.

    Raises:
        InputError: If there is no such target, or its file is not valid.
    """
    root = root_of(project)
    settings = reading.read(target, root, overrides)
    return BACKENDS[settings.kind]()(target, settings, State(root, settings.services))
