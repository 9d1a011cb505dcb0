"""Compute what the decisions of a model are worth, and the threshold with the highest value.

A row is acted on when its score is at or above the threshold. The value is linear in each count and in each amount.
The gain of decisions is their value above that of acting on nobody.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.project import Value

Scores = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


EQUAL_COSTS = Value(benefit=0.0, false_positive_cost=1.0, false_negative_cost=1.0)
"""What a decision is worth where the project does not say: a false and a missed alarm cost the same."""


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


def gain(value: Value, outcome: Counts) -> float:
    """Return how much more the decisions are worth than acting on nobody, in the project's currency.

    >>> claims = Value(benefit=0, false_positive_cost=10, false_negative_cost=100)
    >>> outcome = Counts(true_positives=90, false_positives=20, false_negatives=291, true_negatives=599)
    >>> total(claims, outcome), gain(claims, outcome)
    (-29300.0, 8800.0)
    """
    return total(value, outcome) - total(value, nobody(outcome))


def nobody(outcome: Counts) -> Counts:
    """Return the confusion matrix of acting on nobody, on the same rows."""
    return Counts(
        0, 0, outcome.true_positives + outcome.false_negatives, outcome.false_positives + outcome.true_negatives
    )


def kept(value: Value, outcome: Counts) -> float:
    """Return the expected number of actions that succeed."""
    return outcome.true_positives * value.success_rate


def ceiling(value: Value, positives: int) -> float:
    """Return the gain of perfect decisions: act on all positives only, or on no row if acting does not pay."""
    return max(gain(value, Counts(positives, 0, 0, 0)), 0.0)


def break_even_precision(value: Value) -> float | None:
    """Return the precision at which acting on rows is worth as much as not acting on them.

    None if acting on a true positive does not pay, because then no precision suffices.

    >>> round(break_even_precision(Value(benefit=8, success_rate=0.5, false_positive_cost=2)), 3)
    0.333
    """
    won, lost = stakes(value)
    if won <= 0:
        return None
    return lost / (won + lost)


def break_even_fpr(value: Value, true_positives: float, negatives: float) -> float | None:
    """Return the false-positive rate at which acting is worth as much as not acting on any row.

    None if a false positive costs nothing or there are no negatives. A rate above 1 means that acting always pays.

    >>> offer = Value(benefit=8, success_rate=0.5, false_positive_cost=2)
    >>> round(break_even_fpr(offer, true_positives=800, negatives=99_000), 4)
    0.0162
    """
    won, lost = stakes(value)
    if lost <= 0 or negatives <= 0:
        return None
    return max(won, 0.0) * true_positives / (lost * negatives)


def stakes(value: Value) -> tuple[float, float]:
    """Return the gain of acting on one positive, and the loss of acting on one negative."""
    won = value.success_rate * value.benefit - value.action_cost + value.false_negative_cost
    return won, value.false_positive_cost + value.action_cost


@dataclass(frozen=True)
class Curve:
    """Confusion counts at every threshold, from acting on no row to acting on all rows."""

    thresholds: NDArray[np.float64]
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    positives: int

    def gains(self, value: Value) -> NDArray[np.float64]:
        """Return the gain over acting on nobody at each threshold; 0 at the first."""
        won, lost = stakes(value)
        gains: NDArray[np.float64] = self.true_positives * won - self.false_positives * lost
        return gains


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
    """Return the threshold with the highest gain, as far as the rows can tell.

    Where costs are given and probabilities are calibrated, the best threshold is the break-even probability. So of all
    thresholds whose gain is within one standard error of the highest, the one closest to the break-even is returned
    (the one-standard-error rule of Breiman et al., Classification and Regression Trees, 1984). Without a value, a
    false and a missed alarm cost the same, and the threshold lies between two scores: a model that acts on every row,
    or on none, decides nothing.

    Args:
        scores: (rows,) probabilities of the positive class, by a model that was not fitted on these rows.
        positive: (rows,) whether the row is positive.
        value: What a decision is worth; None for equal costs.

    >>> scores, positive = np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, False])
    >>> round(best_threshold(scores, positive, None), 2)
    0.45
    """
    cuts, costs = curve(scores, positive), value or EQUAL_COSTS
    gains, (won, lost) = cuts.gains(costs), stakes(costs)
    allowed = np.ones(len(gains), bool)
    if value is None and len(gains) > 2:
        allowed[[0, -1]] = False
    best = int(np.argmax(np.where(allowed, gains, -np.inf)))
    # Two thresholds differ in the rows between them only.
    variance = won**2 * np.abs(cuts.true_positives - cuts.true_positives[best]) + lost**2 * np.abs(
        cuts.false_positives - cuts.false_positives[best]
    )
    as_good = np.flatnonzero(allowed & (gains >= gains[best] - np.sqrt(variance)))
    break_even = break_even_precision(costs)
    # If acting never pays, the highest threshold acts on the fewest rows.
    aim = 2.0 if break_even is None else break_even
    return float(cuts.thresholds[as_good[int(np.argmin(np.abs(cuts.thresholds[as_good] - aim)))]])
