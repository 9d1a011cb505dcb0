"""Which columns a table has, and whether they are those that the project file speaks of."""

import difflib
from collections.abc import Iterable

import duckdb

from components.shared.errors import InputError
from components.shared.project import Project


def describe(engine: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the columns of a relation with DuckDB's names of their types."""
    return {row[0]: row[1] for row in engine.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def check(project: Project, name: str, found: dict[str, str]) -> dict[str, str]:
    """Return ``found`` if its names can be worked with and the project's own columns are among them.

    Raises:
        InputError: About too many columns, a name that cannot be used, or an unknown column with the nearest known.
    """
    check_names(name, list(found), project.limits.columns)
    source = project.sources[name]
    added = {source.row_number} | ({source.time} if source.constant_time else set())
    for column in sorted(filter(None, added)):
        if column.lower() in {known.lower() for known in found}:
            raise InputError(
                f"Source '{name}' already has a column '{column}'; expected a new name, as ingestion is to add it. "
                "Choose another name for 'row_number' or 'time' in the project file."
            )
    for column, role in _named(project, name):
        if column not in found and column not in added:
            raise InputError(unknown(name, column, role, found))
    return found


def check_names(name: str, found: list[str], limit: int) -> None:
    """Refuse more columns than the limit and names that cannot be a column everywhere.

    Raises:
        InputError: With the first name that is wrong.
    """
    if len(found) > limit:
        raise InputError(
            f"Source '{name}' has {len(found)} columns; expected at most {limit}. "
            "Leave out what the model does not need, or raise limits.columns in the project file."
        )
    seen: dict[str, str] = {}
    for position, column in enumerate(found, start=1):
        if not column.strip():
            raise InputError(
                f"Source '{name}': column {position} has no name; expected one in the header. Name or drop the column."
            )
        if any(ord(mark) < 32 for mark in column):
            raise InputError(
                f"Source '{name}': the column name {column!r} holds a line break or another control character; "
                "expected plain text. Rename the column."
            )
        if len(column) > 128:
            raise InputError(
                f"Source '{name}': the name of column {position} has {len(column)} characters; expected at most 128. "
                "Rename the column."
            )
        if column.lower() in seen:
            raise InputError(
                f"Source '{name}' has the columns '{seen[column.lower()]}' and '{column}'; expected names that differ "
                "in more than case. Rename one of them."
            )
        seen[column.lower()] = column


def unknown(name: str, column: str, role: str, known: Iterable[str]) -> str:
    """Say that a table lacks a column, and which one is meant perhaps.

    >>> unknown("customers", "chrun", "label.column", ["churn", "age"])
    "Source 'customers' has no column 'chrun' (label.column); it has 'age', 'churn'. Did you mean 'churn'?"
    """
    names = sorted(known)
    near = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
    near = near or [each for each in names if each.lower() == column.lower()]
    listed = ", ".join(f"'{each}'" for each in names[:12]) + (" and others" if len(names) > 12 else "")
    advice = f"Did you mean '{near[0]}'?" if near else "Correct the project file."
    return f"Source '{name}' has no column '{column}' ({role}); it has {listed}. {advice}"


def time_columns(project: Project, name: str) -> dict[str, str]:
    """Return the columns of a source that must hold a time, with the key of the project file that says so."""
    named = {}
    if project.label.source == name:
        named[project.event_time] = "event_time"
    if project.sources[name].time:
        named[str(project.sources[name].time)] = f"sources.{name}.time"
    return named


def numeric_features(project: Project) -> set[str]:
    """Return the features that are numbers; a column of that name without any value becomes a number, too."""
    return {name for name, feature in project.features.columns.items() if feature.type == "numeric"}


def _named(project: Project, name: str) -> list[tuple[str, str]]:
    """List the columns that the project file expects in a source, with the key that names each."""
    named = list(time_columns(project, name).items())
    if project.label.source == name:
        named += [(project.entity, "entity"), (project.label.column, "label.column")]
    segments = project.validation.segment_columns.get(name, ())
    return named + [(column, f"validation.segment_columns.{name}") for column in segments]
