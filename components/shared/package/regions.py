"""What the label of a row may be, at a level that somebody asks for: bounds of a number, or a set of classes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.model_facts import ConformalScores, ModelFacts
from components.shared.errors import InputError
from components.shared.measures import conformal


class Bounds(NamedTuple):
    """The bounds of a regression's labels: (rows,) each, in the label's unit."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


Sets = list[list[str]]
"""The classes of each row's set, in the order of the model's."""
Regions = Bounds | Sets


def regions(facts: ModelFacts, scores: NDArray[np.floating], level: float) -> Regions:
    """Return the regions that hold at least a share of the labels of new rows; see ``measures.conformal``.

    Args:
        facts: Of the model.
        scores: (rows,) or (rows, classes), the model's.
        level: The share of labels to hold.

    Raises:
        InputError: If the level is no share, the model has no calibration, or too few rows calibrated it.
    """
    calibrated = _calibrated(facts, level)
    largest = conformal.limits(calibrated, level)
    if largest is None:
        raise InputError(
            f"'interval' is {level:g}, but the {sum(group.rows for group in calibrated.groups):,} validation rows of "
            f"the model allow at most {conformal.highest_level(calibrated):g}; lower it, or train with more "
            "validation rows."
        )
    if facts.task == "regression":
        return Bounds(*conformal.bounds(calibrated, scores, largest))
    classes = np.array(facts.classes, dtype=object)
    return [classes[row].tolist() for row in conformal.members(facts.task, scores, largest)]


def _calibrated(facts: ModelFacts, level: float) -> ConformalScores:
    if not 0 < level < 1:
        raise InputError(f"'interval' is {level:g}; expected a number above 0 and below 1, such as 0.9.")
    if facts.conformal is None:
        raise InputError(
            f"'interval' is {level:g}, but the model was trained before intervals were possible; train it again, or "
            "leave 'interval' out."
        )
    return facts.conformal
