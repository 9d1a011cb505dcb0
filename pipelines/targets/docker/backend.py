"""The Docker target: each task, and the model server, a container on this machine's engine."""

from collections.abc import Callable, Iterable

from pipelines.definitions import compilation
from pipelines.definitions.catalog import PipelineEntry
from pipelines.images import choices, digests
from pipelines.targets.docker.runtime import DockerRuntime
from pipelines.targets.local.backend import LocalBackend
from pipelines.targets.model import Docker, Images
from pipelines.targets.state import State


class DockerBackend(LocalBackend):
    """Containers on this machine."""

    def __init__(self, name: str, target: Docker, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target = target

    @property
    def images(self) -> Images:
        """Where the target finds the images of the steps."""
        return self.target.images

    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile with the references of the images, or with digests where a registry is named."""
        images = self.images
        chosen = choices.images_of(pipeline.steps, self.project)
        references = {step: digests.pinned(name, images.base, images.registry) for step, name in chosen.items()}
        return compilation.as_text(compilation.with_references(compilation.symbolic(pipeline.name), references))

    def runtime(self, names: Iterable[str], announce: Callable[[str], None]) -> DockerRuntime:
        """Reach the engine and build the images that are missing."""
        return DockerRuntime.prepared(self.target, self.project, self.state, names, announce)
