"""Profile the columns of an ingested table, so that their meaning can be guessed."""

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from components.ingestion import columns, text_copy, text_file
from components.shared import sources
from components.shared.documents.snapshot import TableDescription
from components.shared.errors import InputError
from components.shared.sql import identifier, literal

_LISTED = 100
_FEW = 20
_MIN_ROWS = 20
# The index of a sample of a tenth of the rows; numbers that are further apart measure something.
_MAX_GAPS = 10
_MIN_FILLED = 10
_CHANCE = math.log(1e-6)
_CODE = f"{text_file.CODE}|_|^[0-9]{{19,}}$"


@dataclass(frozen=True)
class ColumnProfile:
    """Profile of one column of the snapshot; shares are relative to the values that are not missing."""

    name: str
    type: str
    rows: int
    present: int
    distinct: int
    values: tuple[str, ...]
    """All values as text, most frequent first; empty if there are more than 100."""
    counts: tuple[int, ...] = ()
    """Number of rows of each of ``values``."""
    number_share: float = 0.0
    date_share: float = 0.0
    length: float = 0.0
    """Mean number of characters of the texts."""
    is_whole: bool = False
    is_row_number: bool = False
    """Whole numbers that count the rows, perhaps of a larger table."""
    is_label_scaled: bool = False
    """A number that is the label in another unit."""
    filled_where: str | None = None
    """The only class, as text, whose rows have values in this column; None if several do, or it may be chance."""
    is_filled_exactly: bool = False
    """Whether it has a value wherever the label has that value."""
    label_twin: bool = False
    """There is a one-to-one relation between the values of the column and of the label."""

    @property
    def missing(self) -> int:
        """Return the number of rows without a value."""
        return self.rows - self.present


def encoding(table: Path) -> str | None:
    """Return the encoding to try for a CSV file that isn't Unicode; None for every other table."""
    is_text = table.is_file() and table.name.lower().endswith(sources.TEXT_SUFFIXES)
    return text_copy.guessed(sources.stem(table), table) if is_text else None


def names(table: Path, encoding: str | None = None) -> list[str]:
    """Return the column names of a table.

    Raises:
        InputError: If the file does not exist, is of an unknown type, or is invalid.
    """
    if not table.is_file():
        raise InputError(f"the table {str(table)!r} does not exist; expected a CSV or parquet file. Correct the path.")
    if table.name.lower().endswith(sources.TEXT_SUFFIXES):
        return text_file.column_names(sources.stem(table), table, encoding)
    if table.suffix.lower() not in sources.PARQUET_SUFFIXES:
        raise InputError(
            f"{table.name} ends with {table.suffix!r}; expected "
            f"{', '.join((*sources.TEXT_SUFFIXES, *sources.PARQUET_SUFFIXES))}. Convert the table or rename the file."
        )
    try:
        return list(pq.read_schema(table).names)
    except (OSError, ValueError) as problem:
        raise InputError(
            f"{table.name} is not a valid parquet file ({str(problem).splitlines()[0]}). Rewrite the table."
        ) from None


def types(table: Path) -> dict[str, str]:
    """Return the columns of a parquet file with the types that it declares; nothing for a text file."""
    if table.name.lower().endswith(sources.TEXT_SUFFIXES):
        return {}
    return {field.name: str(field.type) for field in pq.read_schema(table)}


def named(table: Path, column: str, flag: str, existing: list[str]) -> str:
    """Return the name of a column as the table has it, which may compose its letters otherwise.

    Args:
        table: The CSV or parquet file.
        column: Name of the column.
        flag: The option that names the column, for messages.
        existing: The table's columns.

    Raises:
        InputError: If the column does not exist or its name has a path separator.
    """
    if "/" in column or "\\" in column:
        raise InputError(
            f"the column {column!r} ({flag}) contains a path separator; expected a name without '/' and '\\'. "
            "Rename the column in the table."
        )
    if column in existing:
        return column
    same = [name for name in existing if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", column)]
    if len(same) != 1:
        raise InputError(columns.unknown(sources.stem(table), column, flag, existing))
    return same[0]


def profile(snapshot: Path, described: TableDescription, label: str) -> list[ColumnProfile]:
    """Profile each column of an ingested table.

    Args:
        snapshot: The table's parquet file.
        described: Its description.
        label: The column to predict.
    """
    rows = f"read_parquet({literal(str(snapshot))}, file_row_number=true)"
    with duckdb.connect() as engine:
        classes = _classes(engine, rows, label)
        return [
            _column(engine, rows, name, described.columns[name], label, classes)
            for name in pq.read_schema(snapshot).names
        ]


def _classes(engine: duckdb.DuckDBPyConnection, rows: str, label: str) -> dict[str, int]:
    """Return the label's values as text and the rows of each; nothing if there are more than a few."""
    name = identifier(label)
    counted = engine.execute(
        f"SELECT CAST({name} AS VARCHAR), count(*) FROM {rows} WHERE {name} IS NOT NULL GROUP BY 1 LIMIT {_FEW + 1}"
    ).fetchall()
    return dict(counted) if len(counted) <= _FEW else {}


def _column(
    engine: duckdb.DuckDBPyConnection, rows: str, name: str, type_: str, label: str, classes: Mapping[str, int]
) -> ColumnProfile:
    raw = identifier(name)
    count, present, distinct = engine.execute(
        f"SELECT count(*), count({raw}), count(DISTINCT {raw}) FROM {rows}"
    ).fetchall()[0]
    listed = (
        f"SELECT CAST({raw} AS VARCHAR), count(*) FROM {rows} WHERE {raw} IS NOT NULL "
        "GROUP BY 1 ORDER BY count(*) DESC, 1"
    )
    counted = engine.execute(listed).fetchall() if distinct <= _LISTED else []
    values = tuple(value for value, _ in counted)
    extra: dict[str, Any] = {"counts": tuple(count for _, count in counted)}
    if type_ == "VARCHAR" and present:
        numbers, dates, length = engine.execute(
            f"SELECT count_if(TRY_CAST({raw} AS DOUBLE) IS NOT NULL AND NOT regexp_matches({raw}, {literal(_CODE)})), "
            f"count_if(TRY_CAST({raw} AS TIMESTAMP) IS NOT NULL AND regexp_matches({raw}, '^[0-9]{{4}}[-/]')), "
            f"avg(length({raw})) FROM {rows}"
        ).fetchall()[0]
        extra |= {"number_share": numbers / present, "date_share": dates / present, "length": length}
    if type_ in ("BIGINT", "DOUBLE") and present:
        whole, low, high = engine.execute(
            f"SELECT count_if({raw} = floor({raw})) = count({raw}), min({raw}), max({raw}) FROM {rows}"
        ).fetchall()[0]
        extra["is_whole"] = bool(whole)
        if whole and distinct == present == count > 1:
            extra["is_row_number"] = _is_row_number(engine, rows, raw, count, low, high)
        if name != label and not classes and present >= _MIN_ROWS and distinct > 1:
            extra["is_label_scaled"] = _is_label_scaled(engine, rows, raw, label)
    if name != label and 1 < distinct <= _LISTED:
        both, labels = engine.execute(
            f"SELECT count(DISTINCT ({raw}, {identifier(label)})), count(DISTINCT {identifier(label)}) FROM {rows}"
        ).fetchall()[0]
        extra["label_twin"] = both == distinct == labels and present == count
    if name != label and 0 < present < count and len(classes) > 1:
        extra |= _presence(engine, rows, raw, label, classes)
    return ColumnProfile(name, type_, count, present, distinct, values, **extra)


def _is_row_number(engine: duckdb.DuckDBPyConnection, rows: str, raw: str, count: int, low: float, high: float) -> bool:
    """Say whether whole numbers, all different, number the rows: from 0 or 1, or in the rows' order with few gaps."""
    if count < _MIN_ROWS:
        return False
    if low in (0, 1) and high - low == count - 1:
        return True
    falling = f"SELECT {raw} <= lag({raw}) OVER (ORDER BY file_row_number) AS falls FROM {rows}"
    is_dense = high - low < _MAX_GAPS * count
    return is_dense and not engine.execute(f"SELECT 1 FROM ({falling}) WHERE falls LIMIT 1").fetchall()


def _is_label_scaled(engine: duckdb.DuckDBPyConnection, rows: str, raw: str, label: str) -> bool:
    """Say whether a number is the label in another unit."""
    if not engine.execute(f"SELECT typeof({identifier(label)}) IN ('BIGINT', 'DOUBLE') FROM {rows} LIMIT 1").fetchall()[
        0
    ][0]:
        return False
    correlation = engine.execute(f"SELECT corr({raw}, {identifier(label)}) FROM {rows}").fetchall()[0][0]
    return correlation is not None and abs(correlation) > 1 - 1e-9


def _presence(
    engine: duckdb.DuckDBPyConnection, rows: str, raw: str, label: str, classes: Mapping[str, int]
) -> dict[str, Any]:
    """Describe a column that has values in the rows of one class only; nothing if several have, or by chance."""
    name = identifier(label)
    filled = {
        value: present
        for value, present in engine.execute(
            f"SELECT CAST({name} AS VARCHAR), count({raw}) FROM {rows} WHERE {name} IS NOT NULL GROUP BY 1"
        ).fetchall()
        if present
    }
    if len(filled) != 1:
        return {}
    [(value, present)] = filled.items()
    is_exact = present == classes[value]
    chance = present * math.log(classes[value] / sum(classes.values()))
    if present < _MIN_FILLED or (chance > _CHANCE and not is_exact):
        return {}
    return {"filled_where": value, "is_filled_exactly": is_exact}
