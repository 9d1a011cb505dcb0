"""The laptop target: each task a process in the virtualenv of its image, without Docker."""

from collections.abc import Callable, Iterable

from pipelines.definitions import compilation
from pipelines.definitions.catalog import PipelineEntry
from pipelines.images import choices, recipes
from pipelines.targets.laptop.runtime import VirtualenvRuntime
from pipelines.targets.local.backend import LocalBackend
from pipelines.targets.model import Laptop
from pipelines.targets.state import State


class LaptopBackend(LocalBackend):
    """Processes on this machine."""

    def __init__(self, name: str, target: Laptop, state: State) -> None:
        """Keep what the target file says."""
        super().__init__(name, target, state)
        self.target = target

    def compile(self, pipeline: PipelineEntry) -> str:
        """Compile with the references of the virtualenvs."""
        chosen = choices.images_of(pipeline.steps, self.project)
        references = {step: recipes.reference(name) for step, name in chosen.items()}
        return compilation.as_text(compilation.with_references(compilation.symbolic(pipeline.name), references))

    def runtime(self, names: Iterable[str], announce: Callable[[str], None]) -> VirtualenvRuntime:
        """Install the virtualenvs that are missing."""
        return VirtualenvRuntime.prepared(self.target, self.project, names, announce)
