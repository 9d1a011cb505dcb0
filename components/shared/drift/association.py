"""Find pairs of columns whose association changed, although the distribution of each column may be the same.

Rank correlations (Spearman) are compared after Fisher's transformation, whose variance is about 1.06 / (n - 3)
(Fieller, Hartley and Pearson, "Tests for rank correlation coefficients", Biometrika 44, 1957).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from components.shared.drift import tails
from components.shared.drift.column import Floats

DIFFERENCE_MIN = 0.2
"""Smallest relevant difference of two rank correlations."""
_ROWS_MIN = 30
_LARGEST = 0.999  # Fisher's transformation of 1 is infinite.


@dataclass(frozen=True)
class AssociationComparison:
    """Two columns, by position, with their rank correlation on both sides, each between -1 and 1."""

    left: int
    right: int
    reference: float
    current: float
    threshold: float
    p_value: float

    @property
    def value(self) -> float:
        """Return the absolute difference of the correlations (0 to 2)."""
        return abs(self.current - self.reference)

    @property
    def is_drift(self) -> bool:
        """Return whether the difference is relevant and not explained by chance."""
        return self.value >= self.threshold

    def with_threshold_of_at_least(self, threshold: float) -> "AssociationComparison":
        """Return the comparison with a threshold that also covers ordinary variation."""
        return replace(self, threshold=max(self.threshold, threshold))


def compare_associations(
    reference: Floats, current: Floats, tests: int = 1, alpha: float = 0.05
) -> Iterator[AssociationComparison]:
    """Compare the rank correlation of each pair of columns.

    Args:
        reference: (rows, columns); NaN where a value is missing.
        current: The same columns.
        tests: Number of tests of the run, by which ``alpha`` is divided.
        alpha: Probability of at least one false alarm in a run without drift.
    """
    if min(len(reference), len(current)) < _ROWS_MIN or reference.shape[1] < 2:
        return
    before, after = rank_correlations(reference), rank_correlations(current)
    error = math.sqrt(1.06 / (len(reference) - 3) + 1.06 / (len(current) - 3))
    critical = tails.normal_critical(alpha / tests) * error
    for left in range(reference.shape[1]):
        for right in range(left + 1, reference.shape[1]):
            first, second = float(before[left, right]), float(after[left, right])
            z_first, z_second = math.atanh(first), math.atanh(second)
            # The critical difference of the transformed correlations, as a difference of correlations.
            limit = z_first + math.copysign(critical, z_second - z_first)
            yield AssociationComparison(
                left,
                right,
                first,
                second,
                max(DIFFERENCE_MIN, abs(math.tanh(limit) - first)),
                tails.normal_tail((z_second - z_first) / error),
            )


def rank_correlations(rows: Floats) -> Floats:
    """Return the matrix of Spearman's correlations; a missing value gets the mean rank, a constant column 0.

    >>> float(rank_correlations(np.array([[1.0, 9.0], [2.0, 4.0], [3.0, 1.0]]))[0, 1])
    -0.999
    """
    ranks = np.stack([_centered_ranks(column) for column in rows.T])
    lengths = np.sqrt((ranks**2).sum(axis=1))
    lengths[lengths == 0] = 1.0
    return np.clip(ranks @ ranks.T / np.outer(lengths, lengths), -_LARGEST, _LARGEST)


def _centered_ranks(values: Floats) -> Floats:
    """Return ranks (equal values share their mean rank) minus their mean; 0 where a value is missing."""
    ranks = np.zeros(len(values))
    present = np.isfinite(values)
    _, position, counts = np.unique(values[present], return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    ranks[present] = mean_ranks[position] - (present.sum() + 1) / 2
    return ranks
