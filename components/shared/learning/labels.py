"""Encode the label for training: as a class number, or as a standardised value."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.special
from numpy.typing import NDArray

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.categories import category_text
from components.shared.project import Project


@dataclass(frozen=True)
class LabelEncoding:
    """The encoding of the label.

    ``classes``: negative and positive class (binary), all classes in order (multiclass), or None (regression).
    ``mean`` and ``scale``: convert a standardised value to the label's unit (regression); otherwise 0 and 1.
    """

    task: str
    classes: tuple[str, ...] | None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def units(self) -> int:
        """Return the number of outputs of the network."""
        return len(self.classes) if self.task == "multiclass" and self.classes else 1

    def encode(self, table: pa.Table, column: str) -> NDArray[np.float32]:
        """Return the encoded labels as (n,) float32: class numbers, or standardised values."""
        if self.classes is None:
            values = table.column(column).cast(pa.float64()).to_numpy()
            standardised: NDArray[np.float32] = ((values - self.mean) / self.scale).astype(np.float32)
            return standardised
        number = {name: index for index, name in enumerate(self.classes)}
        return np.array([number[text] for text in rows.texts(table, column)], np.float32)

    def decode(self, encoded: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n,) class numbers, or values in the label's unit."""
        return encoded.astype(np.float64) * self.scale + self.mean

    def scores(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n,) probabilities or values in the label's unit, or (n, classes) probabilities."""
        answers: NDArray[np.float64]
        if self.task == "multiclass":
            answers = scipy.special.softmax(logits, axis=1)
        elif self.task == "binary":
            answers = scipy.special.expit(logits[:, 0])
        else:
            answers = logits[:, 0] * self.scale + self.mean
        return answers

    def losses(self, logits: NDArray[np.float64], encoded: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (n,) the cross-entropy, or the squared error of the standardised label, of each row."""
        answers: NDArray[np.float64]
        if self.task == "multiclass":
            chosen = scipy.special.log_softmax(logits, axis=1)
            answers = -chosen[np.arange(len(encoded)), encoded.astype(int)]
        elif self.task == "binary":
            answers = np.logaddexp(0, logits[:, 0]) - encoded * logits[:, 0]
        else:
            answers = np.square(logits[:, 0] - encoded)
        return answers


def learn(project: Project, train: pa.Table, validation: pa.Table) -> LabelEncoding:
    """Learn the classes, or the mean and scale, from the training and validation rows.

    Raises:
        InputError: If a part is empty, a label is missing, or the labels do not suit the task.
    """
    column = project.label.column
    for name, table in (("training", train), ("validation", validation)):
        if table.num_rows == 0:
            raise InputError(
                f"there are no {name} rows; raise the share of these rows under 'split', or add labelled rows."
            )
        missing = int(pc.sum(pc.is_null(table.column(column), nan_is_null=True)).as_py())
        if missing:
            raise InputError(
                f"label '{column}' is missing in {missing} of {table.num_rows} {name} rows; expected a label in each. "
                "Set 'label.missing: drop' or fill in the labels."
            )
    if project.task == "regression":
        return _standardised(train, column)
    values = set(rows.texts(train, column))
    if len(values) < 2:
        raise InputError(
            f"label '{column}' is {sorted(values)} in all {train.num_rows} training rows; expected at least two "
            "different values. Check the label's source and the split."
        )
    values |= set(rows.texts(validation, column))
    if project.task == "multiclass":
        return LabelEncoding("multiclass", tuple(sorted(values, key=_natural)))
    if len(values) > 2:
        raise InputError(
            f"label '{column}' has {len(values)} different values such as {sorted(values, key=_natural)[:5]}, but the "
            "task is binary; set 'task: multiclass' or 'task: regression', or derive a label with two values."
        )
    positive = _positive(project, train, values)
    return LabelEncoding("binary", (*(values - {positive}), positive))


def _positive(project: Project, train: pa.Table, values: set[str]) -> str:
    """Return the positive class: the declared one, or else the last one in natural order (1, true, yes)."""
    declared = project.label.positive
    if declared is None:
        return sorted(values, key=_natural)[-1]
    # The project file may have 1 where the table has true, and vice versa: Python treats them as equal.
    matches = {
        category_text(value) for value in train.column(project.label.column).unique().to_pylist() if value == declared
    }
    text = matches.pop() if matches else category_text(declared)
    if text not in values:
        raise InputError(
            f"label.positive is {declared!r}, but '{project.label.column}' has the values {sorted(values)}; "
            "set it to one of these."
        )
    return text


def _standardised(train: pa.Table, column: str) -> LabelEncoding:
    kind = train.column(column).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise InputError(
            f"label '{column}' has the type {kind}, but the task is regression; cast the label or change the task."
        )
    values = train.column(column).cast(pa.float64()).to_numpy()
    scale = float(values.std())
    if not scale > 0:
        raise InputError(
            f"label '{column}' is {values[0]} in all training rows; expected different values. Check the label's "
            "source."
        )
    return LabelEncoding("regression", None, float(values.mean()), scale)


def _natural(text: str) -> tuple[int, float, str]:
    """Return the sort key that orders numbers by value, and then other texts alphabetically."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
