"""Class numbers of the rows that judge, including classes that a model has never seen."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.measures.ranking import Floats


def all_classes(table: pa.Table, label: str, task: str, classes: list[str]) -> list[str]:
    """Return the model's classes, then those that only these rows hold: no answer to such a row is right."""
    if task == "regression":
        return []
    new = sorted(set(rows.texts(table, label)) - set(classes))
    if new and task == "binary":
        raise InputError(
            f"label '{label}' holds {new} in the test rows, but the model knows {classes}; "
            "set 'task: multiclass', or derive a label with two values."
        )
    return [*classes, *new]


def labels(table: pa.Table, label: str, classes: list[str]) -> NDArray[Any]:
    """Return class numbers, or without classes the label itself."""
    if not classes:
        return table.column(label).cast(pa.float64()).to_numpy(zero_copy_only=False)
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[text] for text in rows.texts(table, label)], dtype=np.int64)


def check_judgeable(truth: NDArray[Any], label: str, classes: list[str]) -> None:
    """Refuse test rows that cannot tell a good model from a bad one: none at all, or all with the same label."""
    found = np.unique(truth)
    if not len(found):
        raise InputError(
            "no test row is left to judge the model by; give the split a larger test share, or bring newer rows."
        )
    if len(found) == 1:
        only = repr(classes[int(found[0])]) if classes else f"{found[0]:.6g}"
        raise InputError(
            f"label '{label}' is {only} in all {len(truth)} test rows; a model is judged by telling two answers apart. "
            "Give the split a larger test share, or bring newer rows."
        )


def widen(score: Floats, classes: int) -> Floats:
    """Give classes that the model never saw a probability of 0; binary and regression scores stay as they are."""
    if score.ndim == 1 or score.shape[1] == classes:
        return score
    return np.pad(score, ((0, 0), (0, classes - score.shape[1])))
