"""Rows of a parquet file as the model's raw inputs: numbers with gaps as NaN, categories as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.errors import InputError
from components.shared.inputs.categories import category_text
from components.shared.project import Project


@dataclass(frozen=True)
class Inputs:
    """What the model is asked with.

    ``numeric``: (n, k) float32, NaN where missing, booleans 0 or 1.
    ``categorical``: (n, m) text objects, "" where missing.
    """

    numeric: NDArray[np.float32]
    categorical: NDArray[np.object_]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.numeric)

    def take(self, rows: NDArray[Any]) -> "Inputs":
        """Return the chosen rows."""
        return Inputs(self.numeric[rows], self.categorical[rows])

    def feed(self) -> dict[str, NDArray[Any]]:
        """Return the inputs by name; one without columns does not exist for the model."""
        named = {"numeric": self.numeric, "categorical": self.categorical}
        return {name: values for name, values in named.items() if values.shape[1]}


def numeric_names(project: Project) -> list[str]:
    """Return the features that are numbers or booleans, in the project's order."""
    return [name for name, feature in project.features.columns.items() if feature.type != "categorical"]


def categorical_names(project: Project) -> list[str]:
    """Return the features that are categories, in the project's order."""
    return [name for name, feature in project.features.columns.items() if feature.type == "categorical"]


def read(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read the named columns, or say which are absent."""
    present = pq.read_schema(path).names
    absent = sorted(set(columns) - set(present))
    if absent:
        raise InputError(
            f"{path.name} of the splits lacks {absent}; it holds {present}. "
            "Name the columns in the project file as the feature service delivers them."
        )
    return pq.read_table(path, columns=list(dict.fromkeys(columns)))


def inputs(table: pa.Table, numeric: Sequence[str], categorical: Sequence[str]) -> Inputs:
    """Turn the columns of a table into the model's raw inputs, in the order given."""
    numbers = [_numbers(table, name) for name in numeric]
    texts_ = [texts(table, name) for name in categorical]
    empty = (table.num_rows, 0)
    return Inputs(
        np.column_stack(numbers) if numbers else np.empty(empty, np.float32),
        np.column_stack(texts_) if texts_ else np.empty(empty, object),
    )


def _numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    column = table.column(name)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, np.nan, np.float32)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise InputError(
            f"feature '{name}' is numeric or boolean in the project file, but holds {column.type}; "
            "make it categorical there, or cast it where the feature is declared."
        )
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    # Beyond float32 a value would become infinite; the largest finite number keeps its order.
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)


def texts(table: pa.Table, name: str) -> NDArray[np.object_]:
    """Return a column as text, "" where missing; each distinct value is converted once."""
    column = table.column(name)
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, "", object)
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column)
    encoded = column.combine_chunks() if table.num_rows else pa.array([], column.type)
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks().chunk(0)
    words = np.array([category_text(value) for value in encoded.dictionary.to_pylist()] + [""], dtype=object)
    codes = pc.fill_null(encoded.indices.cast(pa.int64()), len(words) - 1).to_numpy(zero_copy_only=False)
    return words[codes]
