"""Read the columns of a table and check them against the project file."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

import duckdb

from components.shared.errors import InputError
from components.shared.project import Project

_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?")
_SHOWN = 60


def describe(engine: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """Return the columns of a relation and DuckDB's name of each column's type."""
    return {row[0]: row[1] for row in engine.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()}


def check(project: Project, name: str, types: dict[str, str]) -> None:
    """Check that a source's column names are usable and that it has every column that the project file names.

    Args:
        project: The project.
        name: Name of the source.
        types: Column name to type, for each column of the source.

    Raises:
        InputError: If there are too many columns, a name is unusable, or a column is absent.
    """
    check_names(name, list(types), project.limits.columns)
    source = project.sources[name]
    added = {source.row_number} | ({source.time} if source.constant_time else set())
    for column in sorted(filter(None, added)):
        if column.lower() in {existing.lower() for existing in types}:
            raise InputError(
                f"source '{name}' already has a column '{column}'; expected an unused name, because ingestion "
                "adds this column. Choose another name for 'row_number' or 'time' in the project file."
            )
    for column, role in named(project, name):
        if column not in types and column not in added:
            raise InputError(unknown(name, column, role, types))


def check_names(name: str, column_names: list[str], limit: int) -> None:
    """Check that there are at most ``limit`` columns and that each name is usable in every later step.

    Raises:
        InputError: If there are too many columns, or about the first name that is unusable.
    """
    if len(column_names) > limit:
        raise InputError(
            f"source '{name}' has {len(column_names)} columns; expected at most {limit}. "
            "Remove the columns that the model does not need, or raise limits.columns in the project file."
        )
    by_lower_name: dict[str, str] = {}
    for position, column in enumerate(column_names, start=1):
        if not column.strip():
            raise InputError(f"source '{name}': column {position} has no name in the header; name or drop it.")
        if any(ord(character) < 32 for character in column):
            raise InputError(
                f"source '{name}': the column name {column!r} holds a line break or another control character; "
                "expected printable text. Rename the column."
            )
        if len(column) > 128:
            raise InputError(
                f"source '{name}': the name of column {position} has {len(column)} characters; expected at most 128. "
                "Rename the column."
            )
        if column.lower() in by_lower_name:
            raise InputError(
                f"source '{name}' has the columns '{by_lower_name[column.lower()]}' and '{column}'; expected names "
                "that differ in more than case. Rename one of them."
            )
        by_lower_name[column.lower()] = column
    _check_composition(name, column_names)


def _check_composition(name: str, column_names: list[str]) -> None:
    """Refuse names that look the same: an accented letter may be one character or two."""
    composed: dict[str, str] = {}
    for column in column_names:
        other = composed.setdefault(unicodedata.normalize("NFC", column).lower(), column)
        if other != column:
            raise InputError(
                f"source '{name}' has two columns '{column}', whose letters are composed differently in Unicode "
                f"({_code_points(other)} and {_code_points(column)}); expected names that look different. Rename one."
            )


def _code_points(text: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in text if ord(character) > 126)


def unknown(name: str, column: str, role: str, existing: Iterable[str]) -> str:
    """Write the message about a column that a source does not have; suggest the most similar one.

    >>> unknown("customers", "chrun", "label.column", ["churn", "age"])
    "source 'customers' has no column 'chrun' (label.column); it has 'age', 'churn'. Did you mean 'churn'?"
    """
    names = sorted(_shortened(column) for column in existing)
    if same := [
        other for other in names if unicodedata.normalize("NFC", other) == unicodedata.normalize("NFC", column)
    ]:
        return (
            f"source '{name}' has no column '{column}' ({role}), but one whose letters are composed differently in "
            f"Unicode ({_code_points(same[0])} instead of {_code_points(column)}); expected the table's own spelling. "
            "Copy the name from the table."
        )
    similar = difflib.get_close_matches(column, names, n=1, cutoff=0.5)
    similar = similar or [name for name in names if name.lower() == column.lower()]
    listed = ", ".join(f"'{name}'" for name in names[:12]) + (" and others" if len(names) > 12 else "")
    advice = "Correct the name."
    if similar:
        advice = f"Did you mean '{similar[0]}'?"
    elif any(_NUMBER.fullmatch(other) for other in names):
        advice = "Its first row seems to hold values: add a header row with the column names."
    return f"source '{name}' has no column '{column}' ({role}); it has {listed}. {advice}"


def _shortened(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"


def time_columns(project: Project, name: str) -> dict[str, str]:
    """Return the columns of a source that must hold a time, and the project file's key that names each."""
    named = {}
    if project.label.source == name:
        named[project.event_time] = "event_time"
    if project.sources[name].time:
        named[str(project.sources[name].time)] = f"sources.{name}.time"
    return named


def numeric_features(project: Project) -> set[str]:
    """Return the numeric features. A column of such a name is numeric even if it has no value."""
    return {name for name, feature in project.features.columns.items() if feature.type == "numeric"}


def named(project: Project, name: str) -> list[tuple[str, str]]:
    """List the columns that the project file expects in a source, and the key that names each."""
    named = list(time_columns(project, name).items())
    if project.label.source == name:
        named += [(project.entity, "entity"), (project.label.column, "label.column")]
    named += [(column, f"sources.{name}.convert") for column in project.sources[name].convert]
    segments = project.validation.segment_columns.get(name, ())
    return named + [(column, f"validation.segment_columns.{name}") for column in segments]
