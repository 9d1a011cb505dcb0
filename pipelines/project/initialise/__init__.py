"""Create a project for a new table: project file, data schema and feature repository."""

from pipelines.project.initialise.guess import ColumnGuess, Guess
from pipelines.project.initialise.project import write

__all__ = ["ColumnGuess", "Guess", "write"]
