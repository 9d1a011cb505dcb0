"""Check that the values of a label suit the task: cheap, so the first step that has them does it."""

from collections.abc import Sequence
from typing import Any

from components.shared.errors import InputError
from components.shared.project import Project

LISTED = 1001
"""How many different values are enough to decide."""


def check(project: Project, values: Sequence[Any]) -> None:
    """Check the different values of the label, at most ``LISTED`` of them.

    Raises:
        InputError: If there is only one, or the task or the positive class does not suit them.
    """
    label = project.label
    if len(values) == 1:
        raise InputError(
            f"the label {label.column!r} has only the value {values[0]!r}; expected at least two different values. "
            "Check the column, or wait for examples with another label."
        )
    if project.task == "regression":
        if not isinstance(values[0], (int, float)) and not hasattr(values[0], "as_tuple"):
            raise InputError(
                f"the label {label.column!r} has values such as {values[0]!r}; expected numbers for a regression. "
                "Set task to multiclass, or choose another label.column."
            )
        return
    if project.task == "binary" and len(values) > 2:
        raise InputError(
            f"the label {label.column!r} has {len(values)} values such as {list(values[:3])}; expected two for a "
            "binary task. Set task to multiclass, or choose another label.column."
        )
    if project.task == "binary" and label.positive is not None and str(label.positive) not in map(str, values):
        raise InputError(
            f"label.positive is {label.positive!r}, which is not a value of the label {label.column!r}; expected one "
            f"of {list(values)}. Correct label.positive."
        )
