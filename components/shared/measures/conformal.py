"""Intervals and sets that hold a given share of new labels: split conformal prediction.

The nonconformity of a row is how badly its label fits the model's answer: the absolute error of a regression, or one
minus the probability of the true class. The nonconformities of n rows that the model was not fitted on are sorted; a
region of level c holds every label whose nonconformity is at most the ceil((n + 1) c)-th of them. For exchangeable rows
it then holds at least c of the new labels, on average over such rows and whatever the model is (Vovk, Gammerman and
Shafer, 2005; Lei et al., 2018, for the absolute error; Sadinle, Lei and Wasserman, 2019, for the probability).

A regression often errs more where its answers are large. Where there are enough rows, they are grouped by the size of
the answer, and every group has a limit of its own, which holds the level in each of them (Mondrian conformal
prediction: Vovk et al., 2005, section 4.5; Boström and Johansson, 2020, for regressions).

Of the scores for classes, this one gives the smallest sets on average, and needs neither sorting nor chance, so that
equal rows get equal sets; adaptive sets (Romano, Sesia and Candès, 2020) are larger unless they are randomised. A set
always has the likeliest class: without it, sets of a model that is right more often than the level would be empty.
The level is held over all classes together, not in each.
"""

import math
from bisect import bisect_left
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.document import Task
from components.shared.documents.model_facts import ConformalGroup, ConformalScores

Floats = NDArray[np.float64]
GROUP_ROWS = 200
"""Fewest rows of a group."""
MOST_GROUPS = 5
_KEPT = (
    *(Fraction(i, 10) for i in range(1, 5)),
    *(Fraction(i, 100) for i in range(50, 100)),
    *(Fraction(i, 1000) for i in (995, 999)),
)
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


def calibrate(
    task: Task, scores: NDArray[np.floating], truth: NDArray[np.generic], *, slack: float = 0.0
) -> ConformalScores:
    """Keep what regions are made from.

    Args:
        task: The model's.
        scores: Its answers to the calibration rows, as ``nonconformity`` takes them.
        truth: Their labels, likewise.
        slack: By how much the served score may differ from the one that was measured; regions are wider by that, as
            many rows may have exactly the nonconformity that is the limit.

    >>> calibrate("regression", np.zeros(3), np.array([0.3, -0.1, 0.2])).groups
    (ConformalGroup(rows=3, ranks=(1, 2, 3), scores=(0.1, 0.2, 0.3)),)
    """
    edges = _edges(scores.astype(np.float64)) if task == "regression" else ()
    group = np.searchsorted(edges, scores) if edges else np.zeros(len(scores), dtype=np.intp)
    unfit = nonconformity(task, scores, truth)
    groups = tuple(_group(np.sort(unfit[group == number]), slack) for number in range(len(edges) + 1))
    return ConformalScores(edges=edges, groups=groups)


def rank(rows: int, level: float | Fraction) -> int:
    """Return the rank, from 1, of the nonconformity that limits a region; above ``rows`` if nothing limits it.

    >>> rank(9, 0.9), rank(10, 0.9), rank(8, 0.9), rank(99, 0.07)
    (9, 10, 9, 7)
    """
    # The decimal that was written, not the binary number next to it: 100 x 0.07 is 7, and not a little more.
    return math.ceil((rows + 1) * (level if isinstance(level, Fraction) else Fraction(str(level))))


def limits(calibrated: ConformalScores, level: float) -> Floats | None:
    """Return the largest nonconformity in a region of each group, None if a group has too few rows for the level.

    Args:
        calibrated: Of the model.
        level: The share of labels to hold, above 0 and below 1.

    >>> three = calibrate("regression", np.zeros(3), np.array([0.3, 0.1, 0.2]))
    >>> limits(three, 0.5), limits(three, 0.75), limits(three, 0.76)
    (array([0.2]), array([0.3]), None)
    """
    exact, largest = Fraction(str(level)), []
    for group in calibrated.groups:
        position = bisect_left(group.ranks, rank(group.rows, exact))
        if position == len(group.ranks):
            return None
        largest.append(group.scores[position])
    return np.array(largest)


def highest_level(calibrated: ConformalScores) -> float:
    """Return the highest level with a limit in every group, rounded down to four digits; 0 if no level has one."""
    highest = [(group.ranks[-1] if group.ranks else 0) / (group.rows + 1) for group in calibrated.groups]
    return math.floor(10_000 * min(highest)) / 10_000


def bounds(calibrated: ConformalScores, scores: NDArray[np.floating], largest: Floats) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds of a regression's labels, (rows,) each, in their unit.

    Args:
        calibrated: Of the model.
        scores: (rows,) its answers.
        largest: (groups,) the limits of a level.
    """
    answers = scores.astype(np.float64)
    half = largest[np.searchsorted(calibrated.edges, answers)] if calibrated.edges else largest[0]
    return answers - half, answers + half


def members(task: Task, scores: NDArray[np.floating], largest: Floats) -> NDArray[np.bool_]:
    """Return (rows, classes) which classes are in each set; the likeliest always is.

    >>> members("multiclass", np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25]]), np.array([0.7])).tolist()
    [[True, False, False], [True, True, False]]
    """
    probabilities = _by_class(task, scores.astype(np.float64))
    inside: NDArray[np.bool_] = 1 - probabilities <= largest[0]
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def _by_class(task: Task, scores: Floats) -> Floats:
    """Return (rows, classes) probabilities; the negative class of a binary task is the first."""
    return np.stack([1 - scores, scores], axis=1) if task == "binary" else scores


def _edges(scores: Floats) -> tuple[float, ...]:
    """Return where groups of about equal numbers of rows end: between two answers, never at one that rows may have."""
    values, counts = np.unique(scores, return_counts=True)
    size, edges, begun = max(GROUP_ROWS, len(scores) // MOST_GROUPS), [], 0
    for ended, value, following in zip(np.cumsum(counts).tolist(), values[:-1], values[1:], strict=False):
        if min(ended - begun, len(scores) - ended) >= size:
            edges.append(float(value + following) / 2)
            begun = ended
    return tuple(edges)


def _group(ordered: Floats, slack: float) -> ConformalGroup:
    """Keep some of the sorted nonconformities; one that is not finite limits nothing."""
    rows, finite = len(ordered), int(np.isfinite(ordered).sum())
    ranks = sorted({rank(rows, level) for level in _KEPT} | {finite})
    kept = tuple(number for number in ranks if 1 <= number <= finite)
    return ConformalGroup(rows=rows, ranks=kept, scores=tuple(float(ordered[number - 1]) + slack for number in kept))
