"""Read rows of a parquet file as the model's raw inputs: numbers with NaN for missing, categories as text."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared import row_groups
from components.shared.errors import InputError
from components.shared.inputs.categories import category_text
from components.shared.inputs.column_file import Columns
from components.shared.project import Project


@dataclass(frozen=True)
class Inputs:
    """The model's raw inputs.

    ``numeric``: (n, k) float32, NaN where missing, booleans 0 or 1.
    ``categorical``: (n, m) text objects, "" where missing.
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numeric)

    def take(self, rows: NDArray[Any]) -> "Inputs":
        """Return the selected rows."""
        return Inputs(self.numeric[rows], self.categorical[rows])

    def feed(self) -> dict[str, NDArray[Any]]:
        """Return the inputs by name, without those that have no columns."""
        named = {"numeric": self.numeric, "categorical": self.categorical}
        return {name: values for name, values in named.items() if values.shape[1]}


def numeric_names(project: Project) -> list[str]:
    """Return the numeric and boolean features, in the project's order."""
    return [name for name, feature in project.features.columns.items() if feature.type != "categorical"]


def categorical_names(project: Project) -> list[str]:
    """Return the categorical features, in the project's order."""
    return [name for name, feature in project.features.columns.items() if feature.type == "categorical"]


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read the named columns of a parquet file.

    Raises:
        InputError: If a column is absent.
    """
    _require(path, columns)
    return pq.read_table(path, columns=list(dict.fromkeys(columns)))


def read_inputs(
    path: Path, numeric: Sequence[str], categorical: Sequence[str], chosen: NDArray[np.int64] | None = None
) -> Inputs:
    """Read the model's raw inputs from a parquet file, one group of rows at a time; the same as ``inputs`` of ``read``.

    Args:
        path: The file.
        numeric: Numeric and boolean columns.
        categorical: Columns of categories.
        chosen: (n,) numbers of the rows to read, ascending; None for all.

    Raises:
        InputError: If a column is absent, or a numeric one holds something else.
    """
    columns = [*numeric, *categorical]
    _require(path, columns)
    with pq.ParquetFile(path) as file:
        count = file.metadata.num_rows if chosen is None else len(chosen)
        read = Inputs(np.empty((count, len(numeric)), np.float32), np.empty((count, len(categorical)), object))
        first_row = filled = 0
        for batch in file.iter_batches(row_groups.ROWS, columns=list(dict.fromkeys(columns))):
            if chosen is not None:
                start, end = np.searchsorted(chosen, [first_row, first_row + batch.num_rows])
                first_row, batch = first_row + batch.num_rows, batch.take(pa.array(chosen[start:end] - first_row))
            some = inputs(pa.Table.from_batches([batch]), numeric, categorical)
            read.numeric[filled : filled + len(some)] = some.numeric
            read.categorical[filled : filled + len(some)] = some.categorical
            filled += len(some)
    return read


def _require(path: Path, columns: Sequence[str]) -> None:
    present = pq.read_schema(path).names
    absent = sorted(set(columns) - set(present))
    if absent:
        raise InputError(
            f"{path.name} of the splits lacks the columns {absent}; it has {present}. "
            "Use the column names of the feature service in the project file."
        )


def inputs(table: Columns, numeric: Sequence[str], categorical: Sequence[str]) -> Inputs:
    """Convert the named columns of a table to the model's raw inputs, in the given order."""
    numbers = [_numbers(table, name) for name in numeric]
    categories = [texts(table, name) for name in categorical]
    empty = (table.num_rows, 0)
    return Inputs(
        np.column_stack(numbers) if numbers else np.empty(empty, np.float32),
        np.column_stack(categories) if categories else np.empty(empty, object),
    )


def _numbers(table: Columns, name: str) -> NDArray[np.float32]:
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, np.nan, np.float32)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise InputError(
            f"feature '{name}' is numeric or boolean in the project file, but has the type {column.type}; "
            "declare it as categorical, or cast it in the feature view."
        )
    values = column.cast(pa.float64()).to_numpy()
    # A value outside the range of float32 would become infinite; clipping preserves the order.
    limit = np.finfo(np.float32).max
    clipped: NDArray[np.float32] = np.clip(values, -limit, limit).astype(np.float32)
    return clipped


def texts(table: Columns, name: str) -> NDArray[np.object_]:
    """Return a column as text, with "" for missing; each distinct value is converted once."""
    column = table.column(name)
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, "", object)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    encoded = column.combine_chunks() if table.num_rows else pa.array([], column.type)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks().chunk(0)
    words: NDArray[np.object_] = np.array(
        # Groups of rows that are read one by one share their words.
        [sys.intern(category_text(value)) for value in encoded.dictionary.to_pylist()] + [""],
        dtype=object,
    )
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(words) - 1).to_numpy(zero_copy_only=False)
    row_words: NDArray[np.object_] = words[codes]
    return row_words
