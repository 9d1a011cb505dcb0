"""How different two distributions are that statistics describe: counts of values, or histograms of numbers.

The Jensen-Shannon divergence has base 2 (0: equal, 1: disjoint). Numbers are evenly spread within a bucket; a bucket
without a width is a value of its own, and infinite and missing numbers of one side match nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.data_validation.duckdb.enums import name_of

Floats = NDArray[np.float64]


def counts(feature: Any) -> dict[str, float]:
    """Return the counted values of a text column; none for numbers."""
    return {bucket.label: bucket.sample_count for bucket in feature.string_stats.rank_histogram.buckets}


def largest_difference(left: Mapping[str, float], right: Mapping[str, float], is_pooled: bool) -> tuple[str, float]:
    """Return the value whose share differs most, and by how much.

    Args:
        left: Value to count.
        right: The same of the other side.
        is_pooled: Divide by the counts of both sides together, not each side by its own.

    >>> largest_difference({"a": 3, "b": 1}, {"a": 1, "b": 3}, is_pooled=False)
    ('a', 0.5)
    """
    sizes = sum(left.values()), sum(right.values())
    if is_pooled:
        sizes = (sum(sizes), sum(sizes))
    differences = {
        value: abs(_share(left.get(value, 0), sizes[0]) - _share(right.get(value, 0), sizes[1]))
        for value in sorted({*left, *right})
    }
    return max(differences.items(), key=lambda item: item[1], default=("", 0.0))


def _share(count: float, size: float) -> float:
    return count / size if size else 0.0


def divergence(left: Any, right: Any, source: str) -> float | None:
    """Return the Jensen-Shannon divergence of a column; None if one side has no values, or sides of different types.

    Args:
        left: Statistics of the column.
        right: The same of the other side.
        source: Kind of the histograms of numbers: STANDARD or QUANTILES.
    """
    texts = counts(left), counts(right)
    if all(texts):
        values = sorted({*texts[0], *texts[1]})
        return jensen_shannon(*(np.array([side.get(value, 0.0) for value in values]) for side in texts))
    histograms = _histogram(left, source), _histogram(right, source)
    if histograms[0] is None or histograms[1] is None:
        return None
    masses = _aligned(*histograms)
    return jensen_shannon(*masses) if all(side.sum() for side in masses) else None


def jensen_shannon(left: Floats, right: Floats) -> float:
    """Return the divergence of two vectors of counts.

    >>> jensen_shannon(np.array([1.0, 1.0]), np.array([2.0, 2.0])), jensen_shannon(np.eye(2)[0], np.eye(2)[1])
    (0.0, 1.0)
    """
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2
    return min(1.0, (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2)


def _relative_entropy(p: Floats, q: Floats) -> float:
    positive = p > 0
    return float(np.sum(p[positive] * np.log2(p[positive] / q[positive])))


def _histogram(feature: Any, source: str) -> Any | None:
    histograms = feature.num_stats.histograms
    return next((each for each in histograms if name_of(each, "type") == source), None)


def _aligned(left: Any, right: Any) -> tuple[Floats, Floats]:
    """Return the masses of two histograms in the same cells."""
    sides = [_cells(histogram) for histogram in (left, right)]
    edges = np.unique(np.concatenate([side.edges for side in sides]))
    points = sorted({*sides[0].points, *sides[1].points})
    masses = []
    for position, side in enumerate(sides):
        spread = np.diff(np.interp(edges, side.edges, side.cumulative)) if len(side.edges) else np.zeros(len(edges[1:]))
        single = [side.points.get(point, 0.0) for point in points]
        unmatched = [0.0, 0.0]
        unmatched[position] = side.unmatched
        masses.append(np.concatenate([spread, single, unmatched]))
    return masses[0], masses[1]


@dataclass(frozen=True)
class _Cells:
    """A histogram as masses between edges, at single points, and where nothing can match."""

    edges: Floats
    cumulative: Floats
    """Mass below each edge."""
    points: Mapping[float, float]
    unmatched: float


def _cells(histogram: Any) -> _Cells:
    points, unmatched = dict[float, float](), float(histogram.num_nan)
    edges, masses = list[float](), list[float]()
    for bucket in histogram.buckets:
        low, high, mass = bucket.low_value, bucket.high_value, bucket.sample_count
        if not np.isfinite([low, high]).all():
            unmatched += mass
        elif low == high:
            points[low] = points.get(low, 0.0) + mass
        else:
            # Nothing lies between two buckets.
            edges, masses = [*edges, low, high], [*masses, 0.0, mass]
    return _Cells(np.array(edges), np.cumsum(masses), points, unmatched)
