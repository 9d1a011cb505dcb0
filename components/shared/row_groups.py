"""Write parquet files in row groups of equal size, so that whoever reads them later needs the memory of one."""

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 100_000
"""Rows of a row group."""


class RowGroupWriter:
    """Writes tables of any size one after another; use it as a context manager.

    Equal rows give equal bytes, however they are cut into tables.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, compression: str = "zstd", rows: int = ROWS) -> None:
        """Open a file.

        Args:
            path: The file; an existing one is replaced.
            schema: The schema of every table.
            compression: The codec of the columns.
            rows: Rows of a group; the last one may have fewer.
        """
        self._file = pq.ParquetWriter(path, schema, compression=compression)
        self._rows = rows
        self._pending: list[pa.Table] = []
        self._pending_rows = 0

    def __enter__(self) -> "RowGroupWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._pending_rows:
                self._write(pa.concat_tables(self._pending))
        finally:
            self._file.close()

    def write(self, table: pa.Table) -> None:
        """Add rows; full row groups are written, the others wait."""
        self._pending.append(table)
        self._pending_rows += table.num_rows
        if self._pending_rows < self._rows:
            return
        joined = pa.concat_tables(self._pending)
        full = joined.num_rows - joined.num_rows % self._rows
        for start in range(0, full, self._rows):
            self._write(joined.slice(start, self._rows))
        self._pending, self._pending_rows = [joined.slice(full)], joined.num_rows - full

    def _write(self, group: pa.Table) -> None:
        # The bytes depend on how a column is cut into chunks.
        self._file.write_table(group.combine_chunks(), row_group_size=self._rows)
