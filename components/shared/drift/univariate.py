"""Two-sample tests of one column, chosen by the size of the reference.

| reference | numbers | categories |
|---|---|---|
| up to 1,000 rows | Kolmogorov-Smirnov test | chi-squared test |
| more | normed Wasserstein distance | Jensen-Shannon distance |

A p-value of a large sample is small for differences that do not matter, so a large reference is judged by a distance
whose smallest relevant value is 0.1. No distance counts that is within what chance explains: every threshold depends
on both numbers of rows and is corrected for the number of tests of a run (Bonferroni).

Sources: Stephens, "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics without extensive tables"
(1970); Lin, "Divergence measures based on the Shannon entropy" (1991); the choice by size is Evidently's default.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from components.shared.drift import column, tails
from components.shared.drift.column import CategoryCounts, Floats

SMALL_REFERENCE = 1000
"""Largest number of rows of a reference that is judged by a p-value."""
DISTANCE_MIN = 0.1

Statistic = Literal["Kolmogorov-Smirnov", "chi-squared", "normed Wasserstein", "Jensen-Shannon"]


@dataclass(frozen=True)
class Comparison:
    """The result of one test: there is drift if ``value`` reaches ``threshold``.

    ``effect`` is the size of the difference whichever test was used: the normed Wasserstein distance of numbers (in
    standard deviations of the reference), the Jensen-Shannon distance of categories (0 to 1).
    """

    statistic: Statistic
    value: float
    threshold: float
    effect: float
    p_value: float | None = None

    @property
    def is_drift(self) -> bool:
        """Return whether the difference reaches the threshold."""
        return self.value >= self.threshold

    def with_threshold_of_at_least(self, threshold: float) -> "Comparison":
        """Return the comparison with a threshold that also covers ordinary variation."""
        return replace(self, threshold=max(self.threshold, threshold))


def compare_numbers(
    reference: Floats, current: Floats, tests: int = 1, alpha: float = 0.05, distance_min: float = DISTANCE_MIN
) -> Comparison:
    """Compare two samples of numbers; values that are not finite are left out.

    Args:
        reference: At least one finite value.
        current: At least one finite value.
        tests: Number of tests of the run, by which ``alpha`` is divided.
        alpha: Probability of at least one false alarm in a run without drift.
        distance_min: Smallest relevant normed Wasserstein distance.

    >>> compare_numbers(np.arange(100.0), np.arange(100.0)).value
    0.0
    """
    before, after = column.numbers(reference), column.numbers(current)
    distance = normed_wasserstein(before, after)
    if len(before) <= SMALL_REFERENCE:
        value, scale = kolmogorov_smirnov(before, after), _scale(len(before), len(after))
        critical = tails.kolmogorov_critical(alpha / tests) / scale
        return Comparison("Kolmogorov-Smirnov", value, critical, distance, tails.kolmogorov_tail(value * scale))
    chance = wasserstein_by_chance(before, len(after), alpha / tests)
    return Comparison("normed Wasserstein", distance, max(distance_min, chance), distance)


def compare_categories(
    reference: Sequence[str | None],
    current: Sequence[str | None],
    tests: int = 1,
    alpha: float = 0.05,
    distance_min: float = DISTANCE_MIN,
) -> Comparison:
    """Compare two samples of categories; missing values are left out. The arguments are those of ``compare_numbers``.

    >>> compare_categories(["a", "b"] * 50, ["a"] * 100).is_drift
    True
    """
    counts = column.count(reference, current)
    n, m, degrees = counts.reference.sum(), counts.current.sum(), len(counts.categories) - 1
    distance = jensen_shannon(*counts.shares())
    if degrees == 0:
        return Comparison("Jensen-Shannon", 0.0, distance_min, 0.0)
    critical = tails.chi_squared_critical(alpha / tests, degrees)
    if n <= SMALL_REFERENCE:
        value = homogeneity(counts)
        return Comparison("chi-squared", value, critical, distance, tails.chi_squared_tail(value, degrees))
    # With equal weights the divergence is an eighth of the chi-squared distance of the shares, in nats.
    chance = math.sqrt((1 / n + 1 / m) * critical / (8 * math.log(2)))
    return Comparison("Jensen-Shannon", distance, max(distance_min, chance), distance)


def kolmogorov_smirnov(reference: Floats, current: Floats) -> float:
    """Return the largest difference between the distribution functions of two sorted samples (0 to 1)."""
    points = np.concatenate([reference, current])
    return float(np.abs(_below(reference, points) - _below(current, points)).max())


def normed_wasserstein(reference: Floats, current: Floats) -> float:
    """Return the mean distance that the values of two sorted samples moved, in the reference's standard deviations."""
    points = np.concatenate([reference, current])
    # A stable sort only merges what is sorted already. Where values are equal, the gap to the next one is 0.
    order = np.argsort(points, kind="stable")
    from_reference = order < len(reference)
    below = np.cumsum(from_reference) / len(reference), np.cumsum(~from_reference) / len(current)
    gap = np.abs(below[0] - below[1])[:-1]
    return float((gap * np.diff(points[order])).sum() / _deviation(reference))


def wasserstein_by_chance(reference: Floats, current_rows: int, alpha: float) -> float:
    """Return what the normed Wasserstein distance of a second sample of a population exceeds at most with ``alpha``.

    The distance is the integral of the absolute value of a Gaussian process, a Brownian bridge. Its mean is known, and
    it exceeds the mean by ``t`` with a probability of at most ``exp(-t**2 / 2)``, in units of the standard deviation of
    the values (Borell-TIS inequality: Adler and Taylor, Random Fields and Geometry, 2007, theorem 2.1.1).

    Args:
        reference: Sorted values.
        current_rows: Number of rows of the other sample.
        alpha: The probability, between 0 and 1.
    """
    share = np.arange(1, len(reference)) / len(reference)
    mean = (np.sqrt(2 * share * (1 - share) / math.pi) * np.diff(reference)).sum() / _deviation(reference)
    return math.sqrt(1 / len(reference) + 1 / current_rows) * float(mean + math.sqrt(-2 * math.log(alpha)))


def jensen_shannon(reference: Floats, current: Floats) -> float:
    """Return the Jensen-Shannon distance (base 2) of two distributions: 0 for equal, 1 for disjoint ones."""
    middle = (reference + current) / 2

    def divergence(shares: Floats) -> float:
        used = shares > 0
        return float((shares[used] * np.log2(shares[used] / middle[used])).sum())

    return math.sqrt(max(0.0, (divergence(reference) + divergence(current)) / 2))


def chi_squared(observed: Floats, expected: Floats) -> float:
    """Return Pearson's statistic.

    >>> round(chi_squared(np.array([73.0, 21, 26, 8]), np.array([72.0, 24, 24, 8])), 4)
    0.5556
    """
    return float(((observed - expected) ** 2 / expected).sum())


def homogeneity(counts: CategoryCounts) -> float:
    """Return Pearson's statistic of the hypothesis that both samples have the same shares."""
    observed = np.stack([counts.reference, counts.current])
    expected = observed.sum(axis=1, keepdims=True) * observed.sum(axis=0) / observed.sum()
    return chi_squared(observed, expected)


def _scale(n: int, m: int) -> float:
    """Return Stephens' factor, with which the statistic has the limiting distribution from small samples on."""
    root = math.sqrt(n * m / (n + m))
    return root + 0.12 + 0.11 / root


def _below(values: Floats, points: Floats) -> Floats:
    return np.searchsorted(values, points, side="right") / len(values)


def _deviation(values: Floats) -> float:
    return float(np.std(values)) or 1.0
