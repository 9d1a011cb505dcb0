"""A table of which each column is read when it is asked for, so that never all of them are in memory."""

from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq


class Columns(Protocol):
    """What ``pa.Table`` and ``ColumnFile`` offer."""

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in their order."""

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column."""


class ColumnFile:
    """The columns of a parquet file; implements ``Columns``."""

    def __init__(self, path: Path) -> None:
        """Read what the file says about its rows and columns, and no row."""
        self._path = path
        self._rows: int = pq.read_metadata(path).num_rows
        self._names: list[str] = pq.read_schema(path).names

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return self._rows

    @property
    def column_names(self) -> list[str]:
        """Return the names of the columns, in their order."""
        return self._names

    def column(self, name: str) -> pa.ChunkedArray:
        """Read a column.

        Raises:
            KeyError: If the file has no such column.
        """
        return pq.read_table(self._path, columns=[name]).column(name)
