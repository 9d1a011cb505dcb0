"""Guess the meaning of each column of a table, with a reason."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from components.shared.errors import InputError
from components.shared.sql import identifier
from pipelines.project.initialise.profile import ColumnProfile
from pipelines.project.initialise.spellings import FALSE_OF

Role = Literal["entity", "time", "label", "feature", "left out"]
_CLASSES = 20
_MAX_CLASSES = 100
_MAX_VOCABULARY = 1000
# Names that pandas, R and other programs give to a row index.
_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+|\.\.\.1|rownames|row[._ ]?(names|number|index)", re.IGNORECASE)
_ID_WORDS = {"id", "uuid", "guid", "key", "index", "number", "no", "nr"}


@dataclass(frozen=True)
class ColumnGuess:
    """The role of a column; for a feature also its type, name and SQL."""

    column: ColumnProfile
    role: Role
    reason: str
    type: Literal["numeric", "categorical", "boolean"] | None = None
    feature: str = ""
    sql: str = ""


@dataclass(frozen=True)
class TaskGuess:
    """The task and the positive class of a label."""

    task: Literal["binary", "multiclass", "regression"]
    positive: str | int | float | bool | None
    reason: str


@dataclass(frozen=True)
class Guess:
    """The guessed project and the files that describe it."""

    name: str
    target: TaskGuess
    entity: str
    event_time: str
    rows: int
    split: str
    validation: float
    """Share of the validation rows."""
    test: float
    """Share of the test rows."""
    columns: tuple[ColumnGuess, ...]
    notes: tuple[str, ...]
    """Assumptions about the whole table, as sentences."""
    files: tuple[Path, ...]

    def table(self) -> list[tuple[str, str, str]]:
        """Return one row per column: its name, its guessed type or role, and the reason."""
        return [(guess.column.name, guess.type or guess.role, guess.reason) for guess in self.columns]


def target(label: ColumnProfile) -> TaskGuess:
    """Guess the task from the label's values.

    Raises:
        InputError: If the label has fewer than two values, too many classes, or times.
    """
    if label.distinct < 2:
        values = f"only the value {label.values[0]!r}" if label.distinct else "no value"
        raise InputError(
            f"the label '{label.name}' has {values} in {label.rows:,} rows; expected at least two different "
            "values. Choose another column with --label."
        )
    if label.distinct == 2:
        positive, reason = _positive(label)
        return TaskGuess("binary", _typed(positive, label.type), f"two values; {reason}")
    if label.type == "TIMESTAMP":
        raise InputError(
            f"the label '{label.name}' has times; expected numbers or classes. Choose another column with --label."
        )
    if label.type in ("BIGINT", "DOUBLE") and (label.distinct > _CLASSES or not label.is_whole):
        return TaskGuess("regression", None, f"{label.distinct:,} different numbers")
    if label.distinct > _MAX_CLASSES or label.distinct * 2 > label.present:
        raise InputError(
            f"the label '{label.name}' has {label.distinct:,} classes in {label.present:,} rows; expected at most "
            f"{_MAX_CLASSES}, each with several rows. Group the classes or choose another column with --label."
        )
    return TaskGuess("multiclass", None, f"{label.distinct} classes")


def feature(
    column: ColumnProfile, name: str, event_time: str, target: TaskGuess, label: str, *, is_code: bool = False
) -> ColumnGuess:
    """Guess whether a column is a feature, and of which type.

    Args:
        column: Profile of the column.
        name: Name of the feature.
        event_time: The column relative to which the age of a date is computed.
        target: The guessed task.
        label: Name of the label.
        is_code: Whether the user says that its numbers are codes: a category each, without an order.
    """
    column_guess = _feature(column, name, event_time, target, label, is_code=is_code)
    if column_guess.role != "feature" or not column.missing:
        return column_guess
    reason = f"{column_guess.reason}; blank in {column.missing:,} of {column.rows:,} rows"
    return replace(column_guess, reason=reason)


def _feature(
    column: ColumnProfile, name: str, event_time: str, target: TaskGuess, label: str, *, is_code: bool
) -> ColumnGuess:
    raw = identifier(column.name)
    is_complete = column.present == column.rows
    if column.distinct == 0:
        return ColumnGuess(column, "left out", "has no value in any row")
    if column.distinct == 1 and is_complete:
        return ColumnGuess(column, "left out", f"constant: always {column.values[0]!r}")
    if column.label_twin and target.task != "regression":
        return ColumnGuess(column, "left out", "equivalent to the label in every row: it would leak the label")
    if column.is_label_scaled:
        return ColumnGuess(column, "left out", "the label in another unit: it would leak the label")
    if column.filled_where is not None:
        where = f"exactly where {label} is" if column.is_filled_exactly else f"only where {label} is"
        return ColumnGuess(
            column,
            "left out",
            f"filled {where} {column.filled_where!r} ({column.present:,} rows): it gives the answer away",
        )
    if _is_id(column):
        return ColumnGuess(column, "left out", "an identifier: every row has a different value")
    if column.is_row_number or _INDEX.fullmatch(column.name):
        return ColumnGuess(column, "left out", "a row number: it counts the rows of the table, or of a larger one")
    pair = _truth(column)
    if pair:
        sql = raw if column.type == "BOOLEAN" else _truth_sql(column, pair)
        only = "" if column.distinct >= 2 else ", although only one of them occurs, with missing values"
        return ColumnGuess(column, "feature", f"boolean values {pair[0]} and {pair[1]}{only}", "boolean", name, sql)
    if column.type == "TIMESTAMP" or column.date_share > 0.95:
        moment = raw if column.type == "TIMESTAMP" else f"TRY_CAST({raw} AS TIMESTAMP)"
        return ColumnGuess(
            column,
            "feature",
            f"a date: the feature is its age in days at '{event_time}' (--time selects the event time)",
            "numeric",
            name,
            f"date_diff('second', {moment}, {identifier(event_time)}) / 86400.0",
        )
    if column.type in ("BIGINT", "DOUBLE") and is_code:
        return _category(column, name, f"CAST({raw} AS VARCHAR)")
    if column.type in ("BIGINT", "DOUBLE"):
        reason = f"{column.distinct:,} different numbers"
        if column.type == "BIGINT" and 2 < column.distinct <= _CLASSES and column.distinct < column.present / 10:
            reason += "; if they are codes without an order, use --categorical"
        return ColumnGuess(column, "feature", reason, "numeric", name, f"CAST({raw} AS DOUBLE)")
    if column.number_share > 0.95:
        texts = round((1 - column.number_share) * column.present)
        reason = "numbers stored as text" + (f"; {texts} other texts are treated as missing" if texts else "")
        number = f"TRY_CAST({raw} AS DOUBLE)"
        return ColumnGuess(
            column, "feature", reason, "numeric", name, f"CASE WHEN isfinite({number}) THEN {number} END"
        )
    return _category(column, name, raw)


def _category(column: ColumnProfile, name: str, raw: str) -> ColumnGuess:
    if column.distinct > 100 and (column.distinct > 0.5 * column.present or column.length > 60):
        return ColumnGuess(
            column,
            "left out",
            f"{column.distinct:,} different texts in {column.present:,} rows: too few repeat",
        )
    reason = f"{column.distinct:,} categories"
    if column.distinct > _MAX_VOCABULARY:
        reason += f"; all but the {_MAX_VOCABULARY:,} most frequent are treated as unknown"
    return ColumnGuess(column, "feature", reason, "categorical", name, raw)


def _positive(label: ColumnProfile) -> tuple[str, str]:
    pair = _truth(label)
    if pair:
        return pair[0], f"{pair[0]!r} is the positive class"
    return label.values[1], f"{label.values[1]!r} is rarer and therefore the positive class"


def _truth(column: ColumnProfile) -> tuple[str, str] | None:
    """Return the texts for true and false in a boolean column; None if the column is not boolean."""
    if column.type == "BOOLEAN":
        return "true", "false"
    originals = {value.lower(): value for value in reversed(column.values)}
    if not originals or len(originals) > 2 or (len(originals) == 1 and column.present == column.rows):
        return None
    for yes, no in FALSE_OF.items():
        if set(originals) <= {yes, no} and (len(originals) == 2 or yes not in ("y", "t", "1", "1.0")):
            return originals.get(yes, yes), originals.get(no, no)
    return None


def _truth_sql(column: ColumnProfile, pair: tuple[str, str]) -> str:
    raw = identifier(column.name)
    if column.type in ("BIGINT", "DOUBLE"):
        return f"CASE {raw} WHEN 1 THEN true WHEN 0 THEN false END"
    return f"CASE lower({raw}) WHEN '{pair[0].lower()}' THEN true WHEN '{pair[1].lower()}' THEN false END"


def _is_id(column: ColumnProfile) -> bool:
    if column.type not in ("BIGINT", "VARCHAR") or column.distinct < column.present or column.present < 20:
        return False
    last = column.name.replace("-", "_").replace(" ", "_").lower().rstrip("_").split("_")[-1]
    has_id_name = last in _ID_WORDS or column.name.endswith(("ID", "Id"))
    return has_id_name or (
        column.type == "VARCHAR" and column.number_share < 0.95 and column.length < 60 and column.date_share < 0.95
    )


def text_of(value: str | float | bool) -> str:
    """Return a value as DuckDB writes it as text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _typed(value: str, type_: str) -> str | int | float | bool:
    if type_ == "BOOLEAN":
        return value == "true"
    if type_ == "BIGINT":
        return int(value)
    return float(value) if type_ == "DOUBLE" else value
