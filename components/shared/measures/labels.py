"""Encode the labels of the test rows as class numbers, including classes that are unknown to the model."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.column_file import Columns
from components.shared.measures.ranking import Floats


def all_classes(table: Columns, label: str, task: str, classes: list[str]) -> list[str]:
    """Return the model's classes and then the unknown ones; a prediction for a row of an unknown class is wrong."""
    if task == "regression":
        return []
    new = sorted(set(rows.texts(table, label)) - set(classes))
    if new and task == "binary":
        raise InputError(
            f"label '{label}' has the values {new} in the test rows, which are unknown to the model ({classes}); "
            "set 'task: multiclass', or derive a label with two values."
        )
    return [*classes, *new]


def labels(table: Columns, label: str, classes: list[str]) -> NDArray[Any]:
    """Return the class numbers, or the label itself for a regression."""
    if not classes:
        values: NDArray[np.float64] = table.column(label).cast(pa.float64()).to_numpy(zero_copy_only=False)
        return values
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[text] for text in rows.texts(table, label)], dtype=np.int64)


def check_judgeable(truth: NDArray[Any], label: str, classes: list[str]) -> None:
    """Check that there are test rows, and that they have at least two different labels.

    Raises:
        InputError: If not.
    """
    distinct = np.unique(truth)
    if not len(distinct):
        raise InputError("no test row is left to evaluate the model on; raise split.test, or add newer rows.")
    if len(distinct) == 1:
        only = repr(classes[int(distinct[0])]) if classes else f"{distinct[0]:.6g}"
        raise InputError(
            f"label '{label}' is {only} in all {len(truth)} test rows; expected at least two different labels. "
            "Raise split.test, or add newer rows."
        )


def widen(score: Floats, classes: int) -> Floats:
    """Append a probability of 0 for each unknown class; binary and regression scores are unchanged."""
    if score.ndim == 1 or score.shape[1] == classes:
        return score
    return np.pad(score, ((0, 0), (0, classes - score.shape[1])))
