"""The label as what the network is trained on: a class number, or a standardised value."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.categories import category_text
from components.shared.project import Project


@dataclass(frozen=True)
class LabelEncoding:
    """How labels are read. ``classes``: negative first (binary), or all in order, or None (regression).

    ``mean`` and ``scale`` bring a regression's answer back to the label's unit; 0 and 1 otherwise.
    """

    task: str
    classes: tuple[str, ...] | None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def units(self) -> int:
        """Return how many numbers the network answers with."""
        return len(self.classes) if self.task == "multiclass" and self.classes else 1

    def encode(self, table: pa.Table, column: str) -> NDArray[np.float32]:
        """Return the label as (n,) float32: class number, or standardised value."""
        if self.classes is None:
            values = table.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
            return ((values - self.mean) / self.scale).astype(np.float32)
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([number[text] for text in rows.texts(table, column)], np.float32)


def learn(project: Project, train: pa.Table, validation: pa.Table) -> LabelEncoding:
    """Learn the classes, or the unit of a regression, from the rows that the model may see."""
    column = project.label.column
    for name, table in (("training", train), ("validation", validation)):
        if table.num_rows == 0:
            raise InputError(
                f"there are no {name} rows; give the split a larger share, or the project more labelled rows."
            )
        without = int(pc.sum(pc.is_null(table.column(column), nan_is_null=True)).as_py())
        if without:
            raise InputError(
                f"label '{column}' is missing in {without} of {table.num_rows} {name} rows; a label must be known "
                "before its row is split. Set 'label.missing: drop', or fill it in."
            )
    if project.task == "regression":
        return _unit(train, column)
    seen = set(rows.texts(train, column))
    if len(seen) < 2:
        raise InputError(
            f"label '{column}' is {sorted(seen)} in all {train.num_rows} training rows; a model needs two answers to "
            "tell apart. Check the label's query, or the split."
        )
    seen |= set(rows.texts(validation, column))
    if project.task == "multiclass":
        return LabelEncoding("multiclass", tuple(sorted(seen, key=_natural)))
    if len(seen) > 2:
        raise InputError(
            f"label '{column}' has {len(seen)} different values, for example {sorted(seen, key=_natural)[:5]}, but the "
            "task is binary; set 'task: multiclass' or 'task: regression', or derive a label with two values."
        )
    positive = _positive(project, train, seen)
    return LabelEncoding("binary", (*(seen - {positive}), positive))


def _positive(project: Project, train: pa.Table, seen: set[str]) -> str:
    """Name the positive class: the declared one, else the last in natural order (1, true, yes)."""
    declared = project.label.positive
    if declared is None:
        return sorted(seen, key=_natural)[-1]
    # A file may say 1 where the table says true, and the other way round: Python holds them equal.
    matches = {
        category_text(value) for value in train.column(project.label.column).unique().to_pylist() if value == declared
    }
    text = matches.pop() if matches else category_text(declared)
    if text not in seen:
        raise InputError(
            f"label 'positive' is {declared!r}, but '{project.label.column}' holds {sorted(seen)}; name one of these."
        )
    return text


def _unit(train: pa.Table, column: str) -> LabelEncoding:
    kind = train.column(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"label '{column}' holds {kind}, but the task is regression; cast it, or change the task.")
    values = train.column(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    scale = float(values.std())
    if not scale > 0:
        raise InputError(f"label '{column}' is {values[0]} in all training rows; there is nothing to predict.")
    return LabelEncoding("regression", None, float(values.mean()), scale)


def _natural(text: str) -> tuple[int, float, str]:
    """Order numbers by value, then words by letters."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
