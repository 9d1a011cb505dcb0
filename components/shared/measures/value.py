"""Compute what the decisions of a model are worth, and the threshold with the highest value.

A row is acted on when its score is at or above the threshold. The value is linear in each count and in each amount.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.project import Value

Scores = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """The confusion matrix of one threshold."""

    true_positives: float
    false_positives: float
    false_negatives: float
    true_negatives: float


def counts(scores: Scores, positive: Flags, threshold: float) -> Counts:
    """Count the four outcomes; a row whose score equals the threshold is acted on."""
    acted = np.asarray(scores) >= threshold
    positive = np.asarray(positive, dtype=bool)
    return Counts(
        int((acted & positive).sum()),
        int((acted & ~positive).sum()),
        int((~acted & positive).sum()),
        int((~acted & ~positive).sum()),
    )


def total(value: Value, outcome: Counts) -> float:
    """Return the total value of all rows, in the project's currency.

    >>> offer = Value(benefit=8, success_rate=0.5, false_positive_cost=2)
    >>> total(offer, Counts(true_positives=800, false_positives=0, false_negatives=200, true_negatives=99_000))
    3200.0
    >>> total(offer, Counts(true_positives=800, false_positives=19_800, false_negatives=200, true_negatives=79_200))
    -36400.0
    """
    acted = outcome.true_positives + outcome.false_positives
    return float(
        outcome.true_positives * value.success_rate * value.benefit
        - outcome.false_positives * value.false_positive_cost
        - acted * value.action_cost
        - outcome.false_negatives * value.false_negative_cost
    )


def kept(value: Value, outcome: Counts) -> float:
    """Return the expected number of actions that succeed."""
    return outcome.true_positives * value.success_rate


def ceiling(value: Value, positives: int) -> float:
    """Return the value of perfect decisions: act on all positives only, or on no row if acting does not pay."""
    return max(total(value, Counts(positives, 0, 0, 0)), total(value, Counts(0, 0, positives, 0)))


def break_even_precision(value: Value) -> float | None:
    """Return the precision at which acting on rows is worth as much as not acting on them.

    None if acting on a true positive does not pay, because then no precision suffices.

    >>> round(break_even_precision(Value(benefit=8, success_rate=0.5, false_positive_cost=2)), 3)
    0.333
    """
    gain, loss = _stakes(value)
    if gain <= 0:
        return None
    return loss / (gain + loss)


def break_even_fpr(value: Value, true_positives: float, negatives: float) -> float | None:
    """Return the false-positive rate at which acting is worth as much as not acting on any row.

    None if a false positive costs nothing or there are no negatives. A rate above 1 means that acting always pays.

    >>> offer = Value(benefit=8, success_rate=0.5, false_positive_cost=2)
    >>> round(break_even_fpr(offer, true_positives=800, negatives=99_000), 4)
    0.0162
    """
    gain, loss = _stakes(value)
    if loss <= 0 or negatives <= 0:
        return None
    return max(gain, 0.0) * true_positives / (loss * negatives)


def _stakes(value: Value) -> tuple[float, float]:
    """Return the gain of acting on one positive, and the loss of acting on one negative."""
    gain = value.success_rate * value.benefit - value.action_cost + value.false_negative_cost
    return gain, value.false_positive_cost + value.action_cost


@dataclass(frozen=True)
class Curve:
    """Confusion counts at every threshold, from acting on no row to acting on all rows."""

    thresholds: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    positives: int

    def totals(self, value: Value) -> NDArray[np.float64]:
        """Return the total value at each threshold."""
        acted = self.true_positives + self.false_positives
        totals: NDArray[np.float64] = (
            self.true_positives * value.success_rate * value.benefit
            - self.false_positives * value.false_positive_cost
            - acted * value.action_cost
            - (self.positives - self.true_positives) * value.false_negative_cost
        )
        return totals

    def f1(self) -> NDArray[np.float64]:
        """Return the F1 score at each threshold; 0 without true positives."""
        counted = np.maximum(self.true_positives + self.false_positives + self.positives, 1)
        scores: NDArray[np.float64] = 2 * self.true_positives / counted
        return scores


def curve(scores: Scores, positive: Flags) -> Curve:
    """Count true and false positives at every threshold that gives different decisions.

    Each threshold is midway between two neighbouring distinct scores, so that rounding cannot move a row across it.
    At the first threshold no row is acted on; at the last, which is 0, all rows are.

    >>> cuts = curve(np.array([0.2, 0.6, 0.6]), np.array([False, True, False]))
    >>> cuts.thresholds.round(2).tolist(), cuts.true_positives.tolist(), cuts.false_positives.tolist()
    ([0.8, 0.4, 0.0], [0, 1, 1], [0, 1, 2])
    """
    scores = np.asarray(scores, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    is_positive = np.asarray(positive, dtype=bool)[order]
    if not len(descending):
        none = np.zeros(1, np.int64)
        return Curve(thresholds=np.ones(1), true_positives=none, false_positives=none, positives=0)
    # Rows with equal scores are acted on together: only the last index of each group of equal scores is a cut.
    last_of_group = np.append(np.flatnonzero(np.diff(descending)), len(descending) - 1)
    acted = last_of_group + 1
    true_positives = np.cumsum(is_positive)[last_of_group]
    midpoints = (descending[last_of_group[:-1]] + descending[last_of_group[:-1] + 1]) / 2
    return Curve(
        thresholds=np.concatenate(([_threshold_above(descending[0])], midpoints, [0.0])),
        true_positives=np.concatenate(([0], true_positives)).astype(np.int64),
        false_positives=np.concatenate(([0], acted - true_positives)).astype(np.int64),
        positives=int(is_positive.sum()),
    )


def _threshold_above(highest: float) -> float:
    """Return a threshold above the highest score: midway to 1, or the next float above 1."""
    return (1.0 + highest) / 2 if highest < 1 else float(np.nextafter(1.0, 2.0))


def best_threshold(scores: Scores, positive: Flags, value: Value | None) -> float:
    """Return the threshold with the highest total value; without a value, the one with the highest F1 score.

    The highest of several such thresholds is returned, so that fewer rows are acted on.
    """
    cuts = curve(scores, positive)
    objective = cuts.f1() if value is None else cuts.totals(value)
    return float(cuts.thresholds[int(np.argmax(objective))])
