"""What is known of all rows of a table, not of a sample: missing values, ranges, duplicates, segments."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq

from components.data_validation.finding import Noted
from components.shared.sql import identifier, literal

_SEGMENT_ROWS = 50  # Below this a segment's share of missing values says little.
_SEGMENTS = 200  # More values than this are not segments but identifiers.
_DOMAIN_VALUES = 1000
_NUMBERS = {"BIGINT", "DOUBLE", "BOOLEAN"}


@dataclass(frozen=True)
class ColumnSummary:
    """One column over all rows; ``low`` and ``high`` are of numbers and truth values only."""

    type: str
    present: int
    is_constant: bool
    infinite: int = 0
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Exact:
    """A table over all rows; ``values`` counts the values of columns that have a domain."""

    rows: int
    columns: dict[str, ColumnSummary]
    values: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


class Table:
    """A parquet file, opened for counting."""

    def __init__(self, path: Path, types: dict[str, str], memory: str = "1GB") -> None:
        """Open the file; ``types`` are those of the snapshot."""
        self._types = types
        self._path = path
        self._rows = f"read_parquet({literal(str(path))}, file_row_number=true)"
        self._engine = duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": memory,
            }
        )

    def measure(self, domains: list[str]) -> Exact:
        """Read what the file itself knows of its columns, and count the values of those in ``domains``."""
        metadata = pq.ParquetFile(self._path).metadata
        places = {metadata.schema.column(index).name: index for index in range(metadata.num_columns)}
        columns = {}
        for column, type_ in self._types.items():
            parts = [
                metadata.row_group(group).column(places[column]).statistics for group in range(metadata.num_row_groups)
            ]
            columns[column] = self._column(column, type_, metadata.num_rows, parts)
        return Exact(metadata.num_rows, columns, {column: self._counts(column) for column in domains})

    def duplicates(self, exact: Exact, ignored: set[str]) -> list[Noted]:
        """Find rows that stand twice, and columns that hold the same in every row."""
        named = [column for column in self._types if column not in ignored]
        hashed = f"hash({', '.join(identifier(column) for column in named)})"
        again = self._ask(f"SELECT count(*) - count(DISTINCT {hashed}) FROM {self._rows}")[0][0]
        noted = []
        if again:
            noted.append(
                Noted(
                    None,
                    "duplicates",
                    f"{again:,} of {exact.rows:,} rows repeat an earlier row; expected each row once. "
                    "Remove them where the table is made.",
                )
            )
        for left, right in self._twins(exact, named):
            noted.append(
                Noted(
                    right,
                    "duplicates",
                    f"'{right}' holds the same as '{left}' in every row; expected columns that differ. Drop one.",
                )
            )
        return noted

    def segments(self, exact: Exact, by: str, most: float) -> list[Noted]:
        """Find columns whose values are missing in one segment far more often than in all other rows."""
        others = [column for column in self._types if column != by]
        counts = ", ".join(f"count({identifier(column)})" for column in others)
        groups = self._ask(
            f"SELECT CAST({identifier(by)} AS VARCHAR), count(*), {counts} FROM {self._rows} GROUP BY 1 "
            f"HAVING count(*) >= {_SEGMENT_ROWS} ORDER BY 2 DESC, 1 LIMIT {_SEGMENTS}"
        )
        noted = []
        for value, size, *present in groups:
            for column, here in zip(others, present, strict=True):
                rest = exact.rows - size
                elsewhere = 1 - (exact.columns[column].present - here) / rest if rest else 0.0
                share = 1 - here / size
                chance = _chance(1 - exact.columns[column].present / exact.rows, size, rest) if rest else 1.0
                if share - elsewhere > max(most, chance):
                    noted.append(
                        Noted(
                            column,
                            "segments",
                            f"'{column}' is missing in {share:.1%} of the {size:,} rows where '{by}' is "
                            f"{_shown(value)}, and in {elsewhere:.1%} of the others; expected at most {most:.0%} more. "
                            "Repair what delivers this segment, or raise validation.segment_missing_max.",
                        )
                    )
        return noted

    def _column(self, column: str, type_: str, rows: int, parts: list[Any]) -> ColumnSummary:
        """Join a column's statistics of all row groups; ask the rows where a file has none, or numbers are infinite."""
        present = rows - sum(part.null_count for part in parts)
        filled = [part for part in parts if part.num_values]
        name = identifier(column)
        if not all(part.has_min_max for part in filled):
            same = self._ask(f"SELECT min({name}) IS NOT DISTINCT FROM max({name}) FROM {self._rows}")[0][0]
            return ColumnSummary(type_, present, same and present in (0, rows))
        low, high = min((part.min for part in filled), default=None), max((part.max for part in filled), default=None)
        is_constant = low == high and present in (0, rows)
        if type_ not in _NUMBERS or low is None or high is None:
            return ColumnSummary(type_, present, is_constant)
        if math.isfinite(low) and math.isfinite(high):
            return ColumnSummary(type_, present, is_constant, 0, low, high)
        found = self._ask(
            f"SELECT count_if(isinf({name})), min({name}) FILTER (WHERE isfinite({name})), "
            f"max({name}) FILTER (WHERE isfinite({name})) FROM {self._rows}"
        )[0]
        return ColumnSummary(type_, present, is_constant, *found)

    def _counts(self, column: str) -> list[tuple[str, int]]:
        name = identifier(column)
        return self._ask(
            f"SELECT {name}, count(*) FROM {self._rows} WHERE {name} IS NOT NULL GROUP BY 1 "
            f"ORDER BY 2 DESC, 1 LIMIT {_DOMAIN_VALUES}"
        )

    def _twins(self, exact: Exact, named: list[str]) -> list[tuple[str, str]]:
        """Compare columns in full whose hashes over all rows agree."""
        prints = ", ".join(f"bit_xor(hash(file_row_number, {identifier(column)}))" for column in named)
        row = self._ask(f"SELECT {prints} FROM {self._rows}")[0]
        first: dict[tuple[Any, str], str] = {}
        twins = []
        for column, fingerprint in zip(named, row, strict=True):
            known = first.setdefault((fingerprint, self._types[column]), column)
            if known == column or exact.columns[column].is_constant:
                continue
            differ = f"{identifier(known)} IS DISTINCT FROM {identifier(column)}"
            if not self._ask(f"SELECT 1 FROM {self._rows} WHERE {differ} LIMIT 1"):
                twins.append((known, column))
        return twins

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        return self._engine.execute(query).fetchall()


def _chance(share: float, size: int, rest: int) -> float:
    """Return a difference between two groups that chance alone hardly ever makes (four standard errors)."""
    return 4 * math.sqrt(share * (1 - share) * (1 / size + 1 / rest))


def _shown(value: str | None) -> str:
    return "missing" if value is None else repr(value)


def plain_findings(exact: Exact, ignored: set[str], rows_min: int, rows_max: int | None) -> list[Noted]:
    """Judge the size of the batch, constant columns and infinite numbers."""
    noted = []
    if exact.rows < rows_min or (rows_max is not None and exact.rows > rows_max):
        expected = f"at least {rows_min:,}" if rows_max is None else f"{rows_min:,} to {rows_max:,}"
        noted.append(
            Noted(
                None,
                "batch_size",
                f"the table has {exact.rows:,} rows; expected {expected}. "
                "Check what delivers it, or change rows_min and rows_max of the source.",
            )
        )
    for name, column in exact.columns.items():
        if name in ignored:
            continue
        if column.infinite:
            noted.append(
                Noted(
                    name,
                    "schema_anomalies",
                    f"'{name}' is infinite in {column.infinite:,} rows; expected finite numbers. "
                    "Correct where they are computed, often a division by zero.",
                )
            )
        if column.is_constant and exact.rows > 1:
            said = "has no value in any row" if column.present == 0 else "holds the same in every row"
            noted.append(
                Noted(
                    name,
                    "constant_columns",
                    f"'{name}' {said}; expected values that differ. Drop it, or repair its source.",
                )
            )
    return noted
