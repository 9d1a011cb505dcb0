"""Columns of a table as one matrix, for tests of all columns together."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MOST_CATEGORIES = 250
"""More categories than this are one: gradient boosting takes no more."""


def sample(table: pa.Table, most: int, rng: np.random.Generator) -> pa.Table:
    """Return at most so many rows, drawn without replacement, in their order."""
    if table.num_rows <= most:
        return table
    return table.take(pa.array(np.sort(rng.choice(table.num_rows, most, replace=False))))


def coded(reference: pa.Table, rows: pa.Table) -> tuple[Floats, Floats, list[bool]]:
    """Return both tables as numbers, NaN where a value is missing, and which columns are codes of categories."""
    table = pa.concat_tables([reference, rows], promote_options="permissive")
    columns, is_category = [], []
    for name in table.column_names:
        values, is_text = table[name], pa.types.is_string(table[name].type)
        if is_text:
            values = values.combine_chunks().dictionary_encode().indices
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        columns.append(np.minimum(numbers, float(MOST_CATEGORIES)) if is_text else numbers)
        is_category.append(is_text)
    matrix = np.column_stack(columns)
    return matrix[: reference.num_rows], matrix[reference.num_rows :], is_category


def scaled(reference: pa.Table, rows: pa.Table) -> tuple[Floats, Floats]:
    """Return both tables as numbers of similar size: in standard deviations of the reference, and one-hot categories.

    A missing number is the reference's mean, and has a column of its own that says so.
    """
    before, after, is_category = coded(reference, rows)
    blocks: list[tuple[Floats, Floats]] = []
    for position, category in enumerate(is_category):
        left, right = before[:, position], after[:, position]
        if category:
            codes = np.unique(np.concatenate([left, right])[~np.isnan(np.concatenate([left, right]))])
            blocks += [((left == code).astype(float), (right == code).astype(float)) for code in codes]
            continue
        known = left[np.isfinite(left)]
        mean, deviation = (known.mean(), known.std() or 1.0) if len(known) else (0.0, 1.0)
        numbers = [np.where(np.isfinite(side), (side - mean) / deviation, 0.0) for side in (left, right)]
        blocks.append((numbers[0], numbers[1]))
        if not (np.isfinite(left).all() and np.isfinite(right).all()):
            blocks.append(((~np.isfinite(left)).astype(float), (~np.isfinite(right)).astype(float)))
    return np.column_stack([left for left, _ in blocks]), np.column_stack([right for _, right in blocks])
