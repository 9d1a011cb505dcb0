"""Exact figures over all rows of a table, not a sample: missing values, ranges, duplicates, segments."""

import math
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from components.data_validation.finding import Anomaly
from components.shared.sql import identifier, literal

_SEGMENT_ROWS = 50  # The share of missing values of a smaller segment is too uncertain.
_SEGMENTS = 200  # A column with more values is an identifier, not a segment.
_DOMAIN_VALUES = 1000
_NUMBERS = {"BIGINT", "DOUBLE", "BOOLEAN"}


@dataclass(frozen=True)
class ColumnSummary:
    """Figures of one column over all rows.

    ``low`` and ``high`` are set for numbers and booleans only, ``first`` and ``last`` (UTC) for times.
    """

    type: str
    present: int
    is_constant: bool
    infinite: int = 0
    low: float | None = None
    high: float | None = None
    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True)
class Exact:
    """Figures of a table over all rows; ``values`` has the counts of the values of columns with a domain."""

    rows: int
    columns: dict[str, ColumnSummary]
    values: dict[str, list[tuple[str, int]]] = field(default_factory=dict)


ROWS = "perennial_rows"
"""The rows of a table, in queries: its columns and ``file_row_number``."""


class Table:
    """A parquet file that can be queried for exact figures."""

    def __init__(self, path: Path, types: dict[str, str], memory: str = "1GB", threads: int | None = None) -> None:
        """Open the file.

        Args:
            path: The file.
            types: The column types in ``snapshot.json``.
            memory: Most that queries may use.
            threads: One adds floating-point numbers in the order of the rows; None is one per core.
        """
        self._types = types
        self.path = path
        self._rows = f"read_parquet({literal(str(path))}, file_row_number=true)"
        # The working folder of a container, where DuckDB would spill by itself, can be read-only.
        self._scratch = tempfile.TemporaryDirectory()
        self._engine = duckdb.connect(
            config={
                "temp_directory": self._scratch.name,
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "memory_limit": memory,
                **({"threads": str(threads)} if threads else {}),
            }
        )
        self._engine.execute(f"CREATE TEMP VIEW {ROWS} AS SELECT * FROM {self._rows}")

    def measure(self, domains: list[str]) -> Exact:
        """Read the column statistics of the file, and count the values of the columns in ``domains`` that it has."""
        metadata = pq.ParquetFile(self.path).metadata
        positions = {metadata.schema.column(index).name: index for index in range(metadata.num_columns)}
        columns = {}
        for column, type_ in self._types.items():
            parts = [
                metadata.row_group(group).column(positions[column]).statistics
                for group in range(metadata.num_row_groups)
            ]
            columns[column] = self._column(column, type_, metadata.num_rows, parts)
        return Exact(metadata.num_rows, columns, {name: self._counts(name) for name in domains if name in columns})

    def duplicates(self, exact: Exact, ignored: set[str]) -> list[Anomaly]:
        """Find duplicate rows and duplicate columns."""
        compared = [column for column in self._types if column not in ignored]
        hashed = f"hash({', '.join(identifier(column) for column in compared)})"
        repeats = self._query(f"SELECT count(*) - count(DISTINCT {hashed}) FROM {self._rows}")[0][0]
        anomalies = []
        if repeats:
            anomalies.append(
                Anomaly(
                    None,
                    "duplicates",
                    f"{repeats:,} of {exact.rows:,} rows duplicate an earlier row; expected unique rows. "
                    "Remove the duplicates where the table is created.",
                )
            )
        for left, right in self._twins(exact, compared):
            anomalies.append(
                Anomaly(
                    right,
                    "duplicates",
                    f"'{right}' has the same values as '{left}' in every row; expected different columns. Drop one.",
                )
            )
        return anomalies

    def segments(self, exact: Exact, by: str, threshold: float) -> list[Anomaly]:
        """Find columns whose values are missing far more often in one segment than in all other rows.

        Args:
            exact: Figures of the table.
            by: The column whose values are the segments.
            threshold: Largest tolerated difference in the share of missing values.
        """
        others = [column for column in self._types if column != by]
        counts = ", ".join(f"count({identifier(column)})" for column in others)
        groups = self._query(
            f"SELECT CAST({identifier(by)} AS VARCHAR), count(*), {counts} FROM {self._rows} GROUP BY 1 "
            f"HAVING count(*) >= {_SEGMENT_ROWS} ORDER BY 2 DESC, 1 LIMIT {_SEGMENTS}"
        )
        anomalies = []
        for value, size, *present_counts in groups:
            for column, present in zip(others, present_counts, strict=True):
                rest = exact.rows - size
                elsewhere = 1 - (exact.columns[column].present - present) / rest if rest else 0.0
                share = 1 - present / size
                chance = _chance(1 - exact.columns[column].present / exact.rows, size, rest) if rest else 1.0
                if share - elsewhere > max(threshold, chance):
                    anomalies.append(
                        Anomaly(
                            column,
                            "segments",
                            f"'{column}' is missing in {share:.1%} of the {size:,} rows where '{by}' is "
                            f"{_shown(value)}, and in {elsewhere:.1%} of the others; expected at most {threshold:.0%} "
                            "more. Fix the source of this segment, or raise validation.segment_missing_max.",
                        )
                    )
        return anomalies

    def create(self, name: str, query: str) -> None:
        """Keep the result of a query as a table of this name, for other queries."""
        self._engine.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {query}")

    def select(self, query: str) -> pa.Table:
        """Return the result of a query about ``ROWS``, the rows of the table, and about created tables."""
        return self._engine.sql(query).to_arrow_table()

    def _column(self, column: str, type_: str, rows: int, parts: list[Any]) -> ColumnSummary:
        """Combine a column's statistics of all row groups; query the rows if some are absent or not finite."""
        if any(part is None for part in parts):
            return self._queried(column, type_)
        present = rows - sum(part.null_count for part in parts)
        filled = [part for part in parts if part.num_values]
        name = identifier(column)
        if not all(part.has_min_max for part in filled):
            is_same = self._query(f"SELECT min({name}) IS NOT DISTINCT FROM max({name}) FROM {self._rows}")[0][0]
            return ColumnSummary(type_, present, is_same and present in (0, rows))
        low, high = min((part.min for part in filled), default=None), max((part.max for part in filled), default=None)
        is_constant = low == high and present in (0, rows)
        if type_ == "TIMESTAMP":
            return ColumnSummary(type_, present, is_constant, first=low, last=high)
        if type_ not in _NUMBERS or low is None or high is None:
            return ColumnSummary(type_, present, is_constant)
        if math.isfinite(low) and math.isfinite(high):
            return ColumnSummary(type_, present, is_constant, 0, low, high)
        figures = self._query(
            f"SELECT count_if(isinf({name})), min({name}) FILTER (WHERE isfinite({name})), "
            f"max({name}) FILTER (WHERE isfinite({name})) FROM {self._rows}"
        )[0]
        return ColumnSummary(type_, present, is_constant, *figures)

    def _queried(self, column: str, type_: str) -> ColumnSummary:
        """Compute the figures of a column in a file without column statistics."""
        name, number = identifier(column), f"CAST({identifier(column)} AS DOUBLE)"
        present, is_same, rows = self._query(
            f"SELECT count({name}), min({name}) IS NOT DISTINCT FROM max({name}), count(*) FROM {self._rows}"
        )[0]
        is_constant = is_same and present in (0, rows)
        if type_ == "TIMESTAMP":
            first, last = self._query(f"SELECT min({name}), max({name}) FROM {self._rows}")[0]
            return ColumnSummary(type_, present, is_constant, first=first, last=last)
        if type_ not in _NUMBERS:
            return ColumnSummary(type_, present, is_constant)
        figures = self._query(
            f"SELECT count_if(isinf({number})), min({number}) FILTER (WHERE isfinite({number})), "
            f"max({number}) FILTER (WHERE isfinite({number})) FROM {self._rows}"
        )[0]
        return ColumnSummary(type_, present, is_constant, *figures)

    def _counts(self, column: str) -> list[tuple[str, int]]:
        name = identifier(column)
        return self._query(
            f"SELECT {name}, count(*) FROM {self._rows} WHERE {name} IS NOT NULL GROUP BY 1 "
            f"ORDER BY 2 DESC, 1 LIMIT {_DOMAIN_VALUES}"
        )

    def _twins(self, exact: Exact, compared: list[str]) -> list[tuple[str, str]]:
        """Return pairs of equal columns; only columns with equal hashes are compared row by row."""
        hashes = ", ".join(f"bit_xor(hash(file_row_number, {identifier(column)}))" for column in compared)
        row = self._query(f"SELECT {hashes} FROM {self._rows}")[0]
        first: dict[tuple[Any, str], str] = {}
        twins = []
        for column, fingerprint in zip(compared, row, strict=True):
            original = first.setdefault((fingerprint, self._types[column]), column)
            if original == column or exact.columns[column].is_constant:
                continue
            differ = f"{identifier(original)} IS DISTINCT FROM {identifier(column)}"
            if not self._query(f"SELECT 1 FROM {self._rows} WHERE {differ} LIMIT 1"):
                twins.append((original, column))
        return twins

    def _query(self, query: str) -> list[tuple[Any, ...]]:
        return self._engine.execute(query).fetchall()


def _chance(share: float, size: int, rest: int) -> float:
    """Return a difference between two groups that is unlikely by chance (four standard errors)."""
    return 4 * math.sqrt(share * (1 - share) * (1 / size + 1 / rest))


def _shown(value: str | None) -> str:
    return "missing" if value is None else repr(value)


def plain_findings(exact: Exact, ignored: set[str], rows_min: int, rows_max: int | None) -> list[Anomaly]:
    """Find an implausible number of rows, constant columns and infinite numbers."""
    anomalies = []
    if exact.rows < rows_min or (rows_max is not None and exact.rows > rows_max):
        expected = f"at least {rows_min:,}" if rows_max is None else f"{rows_min:,} to {rows_max:,}"
        anomalies.append(
            Anomaly(
                None,
                "batch_size",
                f"the table has {exact.rows:,} rows; expected {expected}. "
                "Check the source, or change its rows_min and rows_max.",
            )
        )
    for name, column in exact.columns.items():
        if name in ignored:
            continue
        if column.infinite:
            anomalies.append(
                Anomaly(
                    name,
                    "schema_anomalies",
                    f"'{name}' is infinite in {column.infinite:,} rows; expected finite numbers. "
                    "Correct their computation, often a division by zero.",
                )
            )
        if column.is_constant and exact.rows > 1:
            problem = "has no value in any row" if column.present == 0 else "has the same value in every row"
            anomalies.append(
                Anomaly(
                    name,
                    "constant_columns",
                    f"'{name}' {problem}; expected different values. Drop the column or fix its source.",
                )
            )
    return anomalies
