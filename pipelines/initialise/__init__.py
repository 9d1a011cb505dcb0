"""Write a project for a table that nobody has seen before: project file, data schema, feature repository."""

from pipelines.initialise.guess import ColumnGuess
from pipelines.initialise.project import Guess, write

__all__ = ["ColumnGuess", "Guess", "write"]
