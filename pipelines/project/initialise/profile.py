"""Profile the columns of an ingested table, so that their meaning can be guessed."""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from components.ingestion import columns, logic, text_copy, text_file
from components.shared import sources
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier, literal

_LISTED = 100
_CODE = "^[+-]?0[0-9]|_|^[0-9]{19,}$"


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
    is_counter: bool = False
    """Consecutive integers in the order of the rows."""
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


def profile(draft: Project, source: str, folder: Path) -> list[ColumnProfile]:
    """Ingest a table into ``folder`` and profile each of its columns."""
    logic.ingest(draft, "/", folder / "snapshot")
    described = SnapshotDescription.read(folder / "snapshot").tables[source]
    rows = f"read_parquet({literal(str(folder / 'snapshot' / f'{source}.parquet'))}, file_row_number=true)"
    order = pq.read_schema(folder / "snapshot" / f"{source}.parquet").names
    with duckdb.connect() as engine:
        return [_column(engine, rows, name, described.columns[name], draft.label.column) for name in order]


def _column(engine: duckdb.DuckDBPyConnection, rows: str, name: str, type_: str, label: str) -> ColumnProfile:
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
        text = f"trim({raw})"
        numbers, dates, length = engine.execute(
            f"SELECT count_if(TRY_CAST({text} AS DOUBLE) IS NOT NULL AND NOT regexp_matches({text}, '{_CODE}')), "
            f"count_if(TRY_CAST({text} AS TIMESTAMP) IS NOT NULL AND regexp_matches({text}, '^[0-9]{{4}}[-/]')), "
            f"avg(length({raw})) FROM {rows}"
        ).fetchall()[0]
        extra = {"number_share": numbers / present, "date_share": dates / present, "length": length}
    if type_ in ("BIGINT", "DOUBLE") and present:
        whole, low, high = engine.execute(
            f"SELECT count_if({raw} = floor({raw})) = count({raw}), min({raw}), max({raw}) FROM {rows}"
        ).fetchall()[0]
        extra["is_whole"] = bool(whole)
        if type_ == "BIGINT" and distinct == present == count and high - low == count - 1:
            extra["is_counter"] = not engine.execute(
                f"SELECT 1 FROM {rows} WHERE {raw} - file_row_number <> {low} LIMIT 1"
            ).fetchall()
    if name != label and 1 < distinct <= _LISTED:
        both, labels = engine.execute(
            f"SELECT count(DISTINCT ({raw}, {identifier(label)})), count(DISTINCT {identifier(label)}) FROM {rows}"
        ).fetchall()[0]
        extra["label_twin"] = both == distinct == labels and present == count
    return ColumnProfile(name, type_, count, present, distinct, values, **extra)
