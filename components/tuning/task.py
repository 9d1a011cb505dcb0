"""The parameters of a study's workers, and the types of the objective."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.shared.project import Choice, Project, Range, Training

Report = Callable[[int, float], None]
Objective = Callable[[Training, Report], float]


@dataclass(frozen=True)
class StudyTask:
    """The parameters that a worker needs; they can be pickled for another process."""

    project: Project
    family: str
    splits: Path
    seed: int
    address: str
    key: str

    @property
    def space(self) -> dict[str, Range | Choice]:
        """Return what is searched."""
        return self.project.tuning.space_of(self.family)

    @property
    def is_shared(self) -> bool:
        """Return whether other machines may take part in the study."""
        return "://" in self.address
