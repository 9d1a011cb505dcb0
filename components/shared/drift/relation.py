"""Find a changed relation between a column and the label (concept drift), which only labels reveal.

The rows are grouped by the column's values. If every group's label changed alike, the label shifted; if the groups
changed differently, the relation changed. Binary labels are compared by log odds ratios, whose homogeneity Woolf's test
judges ("On estimating the relation between blood group and disease", 1955): a label shift, even one that comes from
sampling by label, changes all odds by one factor. Other labels are compared by the difference of their means.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.drift import tails
from components.shared.drift.column import Floats

LOG_ODDS_MIN = 0.3
"""Smallest relevant deviation between the groups' log odds ratios: odds that change by a third more or less."""
MEANS_MIN = 0.1
"""Smallest relevant deviation between the groups' differences of means, in standard deviations of the label."""
_BINS = 5
_GROUP_ROWS = 20

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class GroupChange:
    """The mean label of one group (the share of positives of a binary label) on both sides."""

    group: int
    reference: float
    current: float
    deviation: float
    """How far the group's change differs from the common change."""


@dataclass(frozen=True)
class RelationComparison:
    """``value`` is the standard deviation of the groups' changes beyond chance; it reaches ``threshold`` for drift."""

    value: float
    threshold: float
    p_value: float
    groups: tuple[GroupChange, ...]

    @property
    def is_drift(self) -> bool:
        """Return whether the groups changed differently."""
        return self.value >= self.threshold


def quantile_edges(values: Floats) -> Floats:
    """Return the edges between five groups of about equal size; fewer where values repeat."""
    present = values[np.isfinite(values)]
    return np.unique(np.quantile(present, np.linspace(0, 1, _BINS + 1)[1:-1])) if len(present) else np.array([])


def groups_of(values: Floats, edges: Floats) -> Codes:
    """Return the group of each value, from 0; a missing value belongs to the group after the last."""
    return np.where(np.isfinite(values), np.searchsorted(edges, values, side="right"), len(edges) + 1).astype(np.int64)


def compare_relation(
    reference: tuple[Codes, Floats], current: tuple[Codes, Floats], tests: int = 1, alpha: float = 0.05
) -> RelationComparison | None:
    """Compare how the label depends on a grouping; None if fewer than two groups have 20 rows on both sides.

    Args:
        reference: The group and the label of each row, without missing labels; a binary label is 0 or 1.
        current: The same.
        tests: Number of tests of the run, by which ``alpha`` is divided.
        alpha: Probability of at least one false alarm in a run without drift.
    """
    labels = np.concatenate([reference[1], current[1]])
    is_binary = bool(np.isin(labels, (0.0, 1.0)).all())
    groups, changes, variances, means = [], [], [], []
    for group in np.unique(reference[0]):
        before, after = reference[1][reference[0] == group], current[1][current[0] == group]
        if min(len(before), len(after)) < _GROUP_ROWS:
            continue
        change, variance = _log_odds_ratio(before, after) if is_binary else _difference(before, after)
        if variance > 0:
            groups.append(int(group))
            changes.append(change)
            variances.append(variance)
            means.append((float(before.mean()), float(after.mean())))
    if len(groups) < 2:
        return None
    weights, change_by_group = 1 / np.array(variances), np.array(changes)
    deviations = change_by_group - (weights * change_by_group).sum() / weights.sum()
    q, degrees = float((weights * deviations**2).sum()), len(groups) - 1
    # The moment estimator of the variance between groups (DerSimonian and Laird, 1986).
    scale = float(weights.sum() - (weights**2).sum() / weights.sum())
    critical = tails.chi_squared_critical(alpha / tests, degrees)
    smallest = LOG_ODDS_MIN if is_binary else MEANS_MIN * float(np.std(reference[1]))
    return RelationComparison(
        value=math.sqrt(max(0.0, q - degrees) / scale),
        threshold=max(smallest, math.sqrt((critical - degrees) / scale)),
        p_value=tails.chi_squared_tail(q, degrees),
        groups=tuple(
            GroupChange(group, *mean, float(deviation))
            for group, mean, deviation in zip(groups, means, deviations, strict=True)
        ),
    )


def _log_odds_ratio(before: Floats, after: Floats) -> tuple[float, float]:
    """Return the change of the log odds and its variance; half a row is added to each count (Haldane, Anscombe)."""
    counts = [float(part) + 0.5 for labels in (before, after) for part in (labels.sum(), (1 - labels).sum())]
    change = math.log(counts[2] / counts[3]) - math.log(counts[0] / counts[1])
    return change, sum(1 / each for each in counts)


def _difference(before: Floats, after: Floats) -> tuple[float, float]:
    variance = float(np.var(before) / len(before) + np.var(after) / len(after))
    return float(after.mean() - before.mean()), variance
