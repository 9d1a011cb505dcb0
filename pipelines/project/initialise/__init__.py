"""Write a project for a table that nobody has seen before: project file, data schema, feature repository."""

from pipelines.project.initialise.guess import ColumnGuess, Guess
from pipelines.project.initialise.project import write

__all__ = ["ColumnGuess", "Guess", "write"]
