"""What acting on a model's answers is worth, and where to cut its scores so that it is worth most.

A row is acted on when its score is at or above the threshold. Money is linear in each count and in each cost.
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
    """Count the four outcomes; a score equal to the threshold is acted on."""
    acted = np.asarray(scores) >= threshold
    positive = np.asarray(positive, dtype=bool)
    return Counts(
        int((acted & positive).sum()),
        int((acted & ~positive).sum()),
        int((~acted & positive).sum()),
        int((~acted & ~positive).sum()),
    )


def total(value: Value, outcome: Counts) -> float:
    """Return the money of all rows together, in the project's currency.

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
    """Return for how many of the rows acted on the action succeeds."""
    return outcome.true_positives * value.success_rate


def ceiling(value: Value, positives: int) -> float:
    """Return the money of the best possible answers: acting on all positives and nobody else, if that pays at all."""
    return max(total(value, Counts(positives, 0, 0, 0)), total(value, Counts(0, 0, positives, 0)))


def break_even_precision(value: Value) -> float | None:
    """Return the precision at which acting is worth as much as leaving the same rows alone.

    None when acting on a true positive does not pay: then no precision suffices.

    >>> round(break_even_precision(Value(benefit=8, success_rate=0.5, false_positive_cost=2)), 3)
    0.333
    """
    won, lost = _stakes(value)
    if won <= 0:
        return None
    return lost / (won + lost)


def break_even_fpr(value: Value, true_positives: float, negatives: float) -> float | None:
    """Return the false-positive rate at which acting is worth as much as leaving everybody alone.

    None when a false positive costs nothing or there are no negatives; a rate above 1 cannot be reached.

    >>> offer = Value(benefit=8, success_rate=0.5, false_positive_cost=2)
    >>> round(break_even_fpr(offer, true_positives=800, negatives=99_000), 4)
    0.0162
    """
    won, lost = _stakes(value)
    if lost <= 0 or negatives <= 0:
        return None
    return max(won, 0.0) * true_positives / (lost * negatives)


def _stakes(value: Value) -> tuple[float, float]:
    """What acting changes for one positive (won) and for one negative (lost)."""
    won = value.success_rate * value.benefit - value.action_cost + value.false_negative_cost
    return won, value.false_positive_cost + value.action_cost


@dataclass(frozen=True)
class Curve:
    """All distinct cuts of a set of scores, from acting on nobody to acting on everybody."""

    thresholds: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    positives: int

    def totals(self, value: Value) -> NDArray[np.float64]:
        """Return the money at each cut."""
        acted = self.true_positives + self.false_positives
        return (
            self.true_positives * value.success_rate * value.benefit
            - self.false_positives * value.false_positive_cost
            - acted * value.action_cost
            - (self.positives - self.true_positives) * value.false_negative_cost
        )

    def f1(self) -> NDArray[np.float64]:
        """Return the F1 score at each cut; 0 where nothing is found."""
        return 2 * self.true_positives / np.maximum(self.true_positives + self.false_positives + self.positives, 1)


def curve(scores: Scores, positive: Flags) -> Curve:
    """Cut between each pair of neighbouring distinct scores, so that rounding cannot move a row across."""
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked = np.asarray(scores, dtype=np.float64)[order]
    hits = np.asarray(positive, dtype=bool)[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.array([], dtype=int)
    found = np.cumsum(hits)[last]
    nobody = np.nextafter(1.0, 2.0) if len(ranked) and ranked[0] >= 1 else (1.0 + (ranked[0] if len(ranked) else 1)) / 2
    between = (ranked[last[:-1]] + ranked[last[:-1] + 1]) / 2
    return Curve(
        thresholds=np.concatenate(([nobody], between, [0.0] if len(ranked) else [])),
        true_positives=np.concatenate(([0], found)).astype(np.int64),
        false_positives=np.concatenate(([0], last + 1 - found)).astype(np.int64),
        positives=int(hits.sum()),
    )


def best_threshold(scores: Scores, positive: Flags, value: Value | None) -> float:
    """Return the threshold that earns most on these rows; without a value, the one with the highest F1.

    Among equals the highest threshold wins: fewer rows are acted on.
    """
    cuts = curve(scores, positive)
    worth = cuts.f1() if value is None else cuts.totals(value)
    return float(cuts.thresholds[int(np.argmax(worth))])
