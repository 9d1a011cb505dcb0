"""Which image a step runs in: the project file may choose a variant in place of the step's own."""

from collections.abc import Iterable

from components.shared.project import Project

_VALIDATION = {"tfdv": "data_validation", "duckdb": "data_validation_duckdb"}


def image_of(step: str, project: Project) -> str:
    """Return the name of the image that a project chooses for a step, or for ``serving``."""
    return _VALIDATION[project.validation.backend] if step == "data_validation" else step


def images_of(steps: Iterable[str], project: Project) -> dict[str, str]:
    """Map each step to the name of its image."""
    return {step: image_of(step, project) for step in steps}
