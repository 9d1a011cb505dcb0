"""Guess what each column of a table means, and say why."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from components.shared.errors import InputError
from components.shared.sql import identifier
from pipelines.project.initialise.profile import ColumnProfile

Role = Literal["entity", "time", "label", "feature", "left out"]
_TRUE = {"yes": "no", "y": "n", "true": "false", "t": "f", "1": "0", "1.0": "0.0"}
_CLASSES = 20
_MAX_CLASSES = 100
_KNOWN_CATEGORIES = 1000
_ID_WORDS = {"id", "uuid", "guid", "key", "index", "number", "no", "nr"}


@dataclass(frozen=True)
class ColumnGuess:
    """The role of one column, and for a feature its type, name and SQL."""

    column: ColumnProfile
    role: Role
    reason: str
    type: Literal["numeric", "categorical", "boolean"] | None = None
    feature: str = ""
    sql: str = ""


@dataclass(frozen=True)
class TaskGuess:
    """What is predicted."""

    task: Literal["binary", "multiclass", "regression"]
    positive: str | int | float | bool | None
    reason: str


@dataclass(frozen=True)
class Guess:
    """What was taken for what, and where it was written."""

    name: str
    target: TaskGuess
    entity: str
    event_time: str
    rows: int
    split: str
    columns: tuple[ColumnGuess, ...]
    notes: tuple[str, ...]
    """What was assumed beyond single columns, as sentences."""
    files: tuple[Path, ...]

    def table(self) -> list[tuple[str, str, str]]:
        """Return one line per column: its name, what it is taken for, and why."""
        return [(each.column.name, each.type or each.role, each.reason) for each in self.columns]


def target(label: ColumnProfile) -> TaskGuess:
    """Guess the task from the label's values.

    Raises:
        InputError: If the label has one value only, or too many classes.
    """
    if label.distinct < 2:
        held = f"only the value {label.values[0]!r}" if label.distinct else "no value"
        raise InputError(
            f"the label '{label.name}' has {held} in {label.rows:,} rows; expected at least two different values. "
            "Name another column with --label."
        )
    if label.distinct == 2:
        positive, reason = _positive(label)
        return TaskGuess("binary", _typed(positive, label.type), f"two values; {reason}")
    if label.type == "TIMESTAMP":
        raise InputError(
            f"the label '{label.name}' holds times; expected numbers or classes. Name another with --label."
        )
    if label.type in ("BIGINT", "DOUBLE") and (label.distinct > _CLASSES or not label.is_whole):
        return TaskGuess("regression", None, f"{label.distinct:,} different numbers")
    if label.distinct > _MAX_CLASSES or label.distinct * 2 > label.present:
        raise InputError(
            f"the label '{label.name}' has {label.distinct:,} classes in {label.present:,} rows; expected at most "
            f"{_MAX_CLASSES}, each with several rows. Group them or name another column with --label."
        )
    return TaskGuess("multiclass", None, f"{label.distinct} classes")


def feature(column: ColumnProfile, name: str, event_time: str, target: TaskGuess) -> ColumnGuess:
    """Guess whether and how the model should see a column.

    Args:
        column: What the table holds.
        name: What the feature is to be called.
        event_time: The column from which the age of a date is counted.
        target: What is predicted.
    """
    found = _feature(column, name, event_time, target)
    if found.role != "feature" or not column.missing:
        return found
    return replace(found, reason=f"{found.reason}; blank in {column.missing:,} of {column.rows:,} rows")


def _feature(column: ColumnProfile, name: str, event_time: str, target: TaskGuess) -> ColumnGuess:
    raw = identifier(column.name)
    whole = column.present == column.rows
    if column.distinct == 0:
        return ColumnGuess(column, "left out", "has no value in any row")
    if column.distinct == 1 and whole:
        return ColumnGuess(column, "left out", f"constant: always {column.values[0]!r}")
    if column.label_twin and target.task != "regression":
        return ColumnGuess(column, "left out", "says the same as the label in every row: it would give the answer away")
    if column.is_counter or _is_id(column):
        return ColumnGuess(column, "left out", "an identifier: every row has its own value")
    pair = _truth(column)
    if pair:
        sql = raw if column.type == "BOOLEAN" else _truth_sql(column, pair)
        only = "" if column.distinct == 2 else ", though only one of them occurs beside missing values"
        return ColumnGuess(column, "feature", f"truth values spelt {pair[0]} and {pair[1]}{only}", "boolean", name, sql)
    if column.type == "TIMESTAMP" or column.date_share > 0.95:
        return ColumnGuess(
            column,
            "feature",
            f"a date: the model sees its age in days at '{event_time}' (the column itself can be named with --time)",
            "numeric",
            name,
            f"date_diff('second', TRY_CAST({raw} AS TIMESTAMP), {identifier(event_time)}) / 86400.0",
        )
    if column.type in ("BIGINT", "DOUBLE"):
        return ColumnGuess(
            column, "feature", f"{column.distinct:,} different numbers", "numeric", name, f"CAST({raw} AS DOUBLE)"
        )
    if column.number_share > 0.95:
        texts = round((1 - column.number_share) * column.present)
        reason = "numbers kept as text" + (f"; {texts} other texts count as missing" if texts else "")
        number = f"TRY_CAST(trim({raw}) AS DOUBLE)"
        return ColumnGuess(
            column, "feature", reason, "numeric", name, f"CASE WHEN isfinite({number}) THEN {number} END"
        )
    return _category(column, name, raw)


def _category(column: ColumnProfile, name: str, raw: str) -> ColumnGuess:
    if column.distinct > 100 and (column.distinct > 0.5 * column.present or column.length > 60):
        return ColumnGuess(
            column,
            "left out",
            f"{column.distinct:,} different texts in {column.present:,} rows: hardly any repeats",
        )
    reason = f"{column.distinct:,} categories"
    if column.distinct > _KNOWN_CATEGORIES:
        reason += f"; those beyond the {_KNOWN_CATEGORIES:,} most frequent count as unknown"
    return ColumnGuess(column, "feature", reason, "categorical", name, raw)


def _positive(label: ColumnProfile) -> tuple[str, str]:
    pair = _truth(label)
    if pair:
        return pair[0], f"{pair[0]!r} is the answer that is acted on"
    return label.values[1], f"{label.values[1]!r} is the rarer one, taken for the answer that is acted on"


def _truth(column: ColumnProfile) -> tuple[str, str] | None:
    """Return how the column spells true and false; None if it holds something else."""
    if column.type == "BOOLEAN":
        return "true", "false"
    spelt = {value.strip().lower(): value.strip() for value in column.values}
    if not spelt or len(spelt) > 2 or (len(spelt) == 1 and column.present == column.rows):
        return None
    for yes, no in _TRUE.items():
        if set(spelt) <= {yes, no} and (len(spelt) == 2 or yes not in ("y", "t", "1", "1.0")):
            return spelt.get(yes, yes), spelt.get(no, no)
    return None


def _truth_sql(column: ColumnProfile, pair: tuple[str, str]) -> str:
    raw = identifier(column.name)
    if column.type in ("BIGINT", "DOUBLE"):
        return f"CASE {raw} WHEN 1 THEN true WHEN 0 THEN false END"
    return f"CASE lower(trim({raw})) WHEN '{pair[0].lower()}' THEN true WHEN '{pair[1].lower()}' THEN false END"


def _is_id(column: ColumnProfile) -> bool:
    if column.type not in ("BIGINT", "VARCHAR") or column.distinct < column.present or column.present < 20:
        return False
    last = column.name.replace("-", "_").replace(" ", "_").lower().rstrip("_").split("_")[-1]
    named = last in _ID_WORDS or column.name.endswith(("ID", "Id"))
    return named or (
        column.type == "VARCHAR" and column.number_share < 0.95 and column.length < 60 and column.date_share < 0.95
    )


def _typed(value: str, type_: str) -> str | int | float | bool:
    if type_ == "BOOLEAN":
        return value == "true"
    if type_ == "BIGINT":
        return int(value)
    return float(value) if type_ == "DOUBLE" else value
