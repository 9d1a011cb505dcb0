"""Bring logged and offline values to the types in which they are compared, those of the log."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from components.shared.errors import InputError
from components.shared.inference_log.columns import RECEIVED_TYPES
from components.shared.inputs.rows import texts
from components.shared.project import Project


def typed(table: pa.Table, project: Project, columns: Mapping[str, str], source: str) -> pa.Table:
    """Return some features of a table in the types of the log.

    Numbers are float64 with null for NaN. Categories are cleaned as training and serving do, and null where they are
    empty.

    Args:
        table: Logged or offline rows.
        project: Says the type of each feature.
        columns: Feature to its column in ``table``; the result has the features' names.
        source: What the table is, for the message.

    Raises:
        InputError: If a column cannot have the type of its feature.
    """
    return pa.table(
        {
            name: _typed(table, column, project.features.columns[name].type, f"the feature {name!r} {source}")
            for name, column in columns.items()
        }
    )


def is_exact(table: pa.Table, column: str) -> bool:
    """Return whether a column holds whole numbers, booleans or texts, which no rounding changes."""
    return not pa.types.is_floating(table.schema.field(column).type)


def _typed(table: pa.Table, column: str, kind: str, owner: str) -> pa.Array:
    if kind == "categorical":
        return _categories(table, column)
    values, target = table[column], RECEIVED_TYPES[kind]
    try:
        if pa.types.is_boolean(values.type) and kind == "numeric":
            values = values.cast(pa.int8())
        array = pa.chunked_array(values).cast(target).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{owner} has the type {values.type}, and the project file says {kind}; expected values of that type. "
            "Cast it in the feature view, or correct its type in the project file."
        ) from error
    if pa.types.is_floating(target):
        # NaN is how some tables write a missing number.
        numbers = array.to_numpy(zero_copy_only=False)
        array = pa.array(numbers, pa.float64(), mask=np.isnan(numbers))
    return array


def _categories(table: pa.Table, column: str) -> pa.Array:
    words = texts(table, column)
    return pa.array(words, pa.string(), mask=words == "")
