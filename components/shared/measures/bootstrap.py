"""Confidence intervals by the bootstrap, and paired comparisons on the same rows.

Percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): the interval of a
statistic is the span between the (1 - confidence) / 2 and (1 + confidence) / 2 quantiles of its values over resamples.
Rows of one entity are not independent, so whole entities are drawn with replacement (the cluster bootstrap, Davison and
Hinkley, 1997, section 3.8); with one row per entity that is the ordinary bootstrap. Every statistic is taken on the
same resamples, so the difference of two models is a paired one: what makes a resample hard is hard for both.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import Metric
from components.shared.measures.ranking import Floats

# Fewer entities than this cannot represent a population; rows are drawn instead, and the report says so.
MIN_CLUSTERS = 30
# Weights of one chunk stay within the processor's cache.
_CHUNK_CELLS = 200_000

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """An estimate and its bounds; NaN where it is undefined."""

    value: float
    low: float
    high: float

    @property
    def metric(self) -> Metric:
        """The interval as a document holds it: None where it is undefined."""
        return Metric(value=self.value, low=self.low, high=self.high)


@dataclass(frozen=True)
class Distribution:
    """A statistic on the rows as they are and on every resample."""

    value: float
    resampled: Floats

    def __sub__(self, other: "Distribution") -> "Distribution":
        """Return the paired difference."""
        return Distribution(self.value - other.value, self.resampled - other.resampled)

    def interval(self, confidence: float) -> Interval:
        """Return the percentile interval; resamples on which the statistic is undefined are left out."""
        defined = self.resampled[~np.isnan(self.resampled)]
        if not len(defined) or np.isnan(self.value):
            return Interval(self.value, float("nan"), float("nan"))
        tail = (1 - confidence) / 2
        low, high = np.quantile(defined, [tail, 1 - tail])
        return Interval(self.value, float(low), float(high))

    def standard_error(self) -> float:
        """Return the standard deviation over the resamples on which the statistic is defined."""
        defined = self.resampled[~np.isnan(self.resampled)]
        return float(defined.std()) if len(defined) > 1 else float("nan")


def clusters_of(entities: NDArray[Any]) -> tuple[NDArray[np.intp], str]:
    """Number the units to draw: entities where there are enough of them, else rows; and name them."""
    _, codes = np.unique(entities, return_inverse=True)
    if codes.max(initial=-1) + 1 >= MIN_CLUSTERS:
        return codes.astype(np.intp), "entity"
    return np.arange(len(entities)), "row"


def distributions(
    statistic: Callable[[Floats], Mapping[Key, Floats]], clusters: NDArray[np.intp], *, resamples: int, seed: int
) -> dict[Key, Distribution]:
    """Take all statistics on the rows and on ``resamples`` draws of the clusters, the same draws for each.

    Args:
        statistic: From weights (b, rows) to values by name (any hashable), each (b,).
        clusters: (rows,) number of the unit that a row belongs to, from 0 without gaps.
        resamples: How many draws.
        seed: The same seed and number of clusters gives the same draws.

    >>> mean = lambda weights: {"mean": weights @ np.array([0.0, 1.0]) / weights.sum(axis=1)}
    >>> drawn = distributions(mean, np.array([0, 1]), resamples=400, seed=1)["mean"]
    >>> drawn.value, drawn.interval(0.95).low, drawn.interval(0.95).high
    (0.5, 0.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    rows, units = len(clusters), int(clusters.max()) + 1
    each_row_its_own = units == rows
    parts: dict[Key, list[Floats]] = {}
    per_chunk = max(1, _CHUNK_CELLS // rows)
    for first in range(0, resamples, per_chunk):
        size = min(per_chunk, resamples - first)
        drawn = rng.integers(0, units, size=(size, units)) + np.arange(size)[:, None] * units
        weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units).astype(float)
        ordered = each_row_its_own and bool((clusters == np.arange(rows)).all())
        for name, values in statistic(weights if ordered else weights[:, clusters]).items():
            parts.setdefault(name, []).append(values)
    exact = statistic(np.ones((1, rows)))
    return {name: Distribution(float(exact[name][0]), np.concatenate(values)) for name, values in parts.items()}
