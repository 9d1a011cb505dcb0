"""Intervals and sets that hold a given share of new labels: split conformal prediction.

The nonconformity of a row is how badly its label fits the model's answer: the absolute error of a regression, or one
minus the probability of the true class. The nonconformities of n rows that the model was not fitted on are sorted; a
region of level c holds every label whose nonconformity is at most the ceil((n + 1) c)-th of them. For exchangeable rows
it then holds at least c of the new labels, on average over such rows and whatever the model is (Vovk, Gammerman and
Shafer, 2005; Lei et al., 2018, for the absolute error; Sadinle, Lei and Wasserman, 2019, for the probability).

Of the scores for classes, this one gives the smallest sets on average, and needs neither sorting nor chance, so that
equal rows get equal sets; adaptive sets (Romano, Sesia and Candes, 2020) are larger unless they are randomised. A set
always has the likeliest class: without it, sets of a model that is right more often than the level would be empty.

The guarantee is for all rows together, not for each group of them. The validation rows have also stopped the training
and chosen the model, therefore an evaluation measures on the test rows what the regions really hold.
"""

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.document import Task
from components.shared.documents.model_facts import ConformalScores

Floats = NDArray[np.float64]
_KEPT = (*(Fraction(i, 100) for i in range(1, 100)), *(Fraction(i, 1000) for i in range(991, 1000)))
"""Levels that are answered exactly; one between two of them is answered by the higher one."""


def nonconformity(task: Task, scores: NDArray[np.floating], truth: NDArray[np.generic]) -> Floats:
    """Return (rows,) how badly each label fits the model's answer.

    Args:
        task: The model's.
        scores: (rows,) values in the label's unit or probabilities of the positive class, or (rows, classes).
        truth: (rows,) labels in their unit, whether the class is the positive one, or class numbers.
    """
    answers = scores.astype(np.float64)
    if task == "regression":
        return np.abs(truth.astype(np.float64) - answers)
    probabilities = _by_class(task, answers)
    return 1 - probabilities[np.arange(len(truth)), truth.astype(np.intp)]


def calibrate(nonconformities: Floats, slack: float) -> ConformalScores:
    """Keep what regions are made from.

    Args:
        nonconformities: (rows,) those of the calibration rows; one that is not finite makes the highest levels
            impossible.
        slack: By how much the served score may differ from the one that was measured; regions are wider by that, as
            many rows may have exactly the limit's nonconformity.

    >>> calibrate(np.array([0.3, 0.1, 0.2]), 0.0)
    ConformalScores(rows=3, ranks=(1, 2, 3), scores=(0.1, 0.2, 0.3))
    """
    rows = len(nonconformities)
    ordered = np.sort(nonconformities)
    finite = int(np.isfinite(ordered).sum())
    ranks = sorted({rank(rows, level) for level in _KEPT} | {finite})
    kept = [number for number in ranks if 1 <= number <= finite]
    return ConformalScores(
        rows=rows, ranks=tuple(kept), scores=tuple(float(ordered[number - 1]) + slack for number in kept)
    )


def rank(rows: int, level: float | Fraction) -> int:
    """Return the rank, from 1, of the nonconformity that limits a region; above ``rows`` if nothing limits it.

    >>> rank(9, 0.9), rank(10, 0.9), rank(8, 0.9), rank(99, 0.07)
    (9, 10, 9, 7)
    """
    # The decimal that was written, not the binary number next to it: 100 x 0.07 is 7, and not a little more.
    return math.ceil((rows + 1) * (level if isinstance(level, Fraction) else Fraction(str(level))))


def limit(calibrated: ConformalScores, level: float) -> float | None:
    """Return the largest nonconformity in a region, None if there are too few rows for the level.

    Args:
        calibrated: Of the model.
        level: The share of labels to hold, above 0 and below 1.

    >>> three = calibrate(np.array([0.3, 0.1, 0.2]), 0.0)
    >>> limit(three, 0.5), limit(three, 0.75), limit(three, 0.76)
    (0.2, 0.3, None)
    """
    position = bisect_left(calibrated.ranks, rank(calibrated.rows, level))
    return calibrated.scores[position] if position < len(calibrated.ranks) else None


def highest_level(calibrated: ConformalScores) -> float:
    """Return the highest level with a limit, rounded down to four digits; 0 if no level has one."""
    last = calibrated.ranks[-1] if calibrated.ranks else 0
    return math.floor(10_000 * last / (calibrated.rows + 1)) / 10_000


def bounds(scores: NDArray[np.floating], largest: float) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds of a regression, (rows,) each, in the label's unit."""
    answers = scores.astype(np.float64)
    return answers - largest, answers + largest


def members(task: Task, scores: NDArray[np.floating], largest: float) -> NDArray[np.bool_]:
    """Return (rows, classes) which classes are in each set; the likeliest always is.

    >>> members("multiclass", np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]]), 0.7).tolist()
    [[True, False, False], [True, True, False]]
    """
    probabilities = _by_class(task, scores.astype(np.float64))
    inside: NDArray[np.bool_] = 1 - probabilities <= largest
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def _by_class(task: Task, scores: Floats) -> Floats:
    """Return (rows, classes) probabilities; the negative class of a binary task is the first."""
    return np.stack([1 - scores, scores], axis=1) if task == "binary" else scores
