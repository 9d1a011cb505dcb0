"""What a worker of a study needs to know, and what it is asked to minimise."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.shared.project import Project, Training

Report = Callable[[int, float], None]
Objective = Callable[[Training, Report], float]


@dataclass(frozen=True)
class StudyTask:
    """What a worker needs to know; all of it can be sent to another process."""

    project: Project
    splits: Path
    seed: int
    address: str
    key: str
