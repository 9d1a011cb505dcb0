"""An exact interval of a share of rows that come in clusters, such as several rows of one entity."""

from typing import NamedTuple

import numpy as np
import scipy.special
from numpy.typing import NDArray


class Proportion(NamedTuple):
    """A share with the bounds of its interval, and how many independent rows would have told as much."""

    share: float
    low: float
    high: float
    effective_rows: float


def proportion(hits: NDArray[np.bool_], clusters: NDArray[np.intp], confidence: float) -> Proportion:
    """Return the share of hits, with the interval of Clopper and Pearson (1934) as Korn and Graubard (1998) adjust it.

    The interval is exact, so that it says something even where every row is a hit. Rows of a cluster are not
    independent; the number of rows is divided by the design effect, which is the variance of the share over whole
    clusters by that over rows.

    Args:
        hits: (rows,) at least one.
        clusters: (rows,) number of the cluster of a row, from 0 without gaps.
        confidence: Of the interval, such as 0.95.

    >>> alone = proportion(np.array([True] * 8 + [False] * 2), np.arange(10), 0.95)
    >>> round(alone.low, 4), round(alone.high, 4)
    (0.4439, 0.9748)
    """
    rows, share = len(hits), float(hits.mean())
    effective = _effective_rows(hits, clusters, share, confidence)
    inside, tail = share * effective, (1 - confidence) / 2
    low = 0.0 if inside == 0 else float(scipy.special.betaincinv(inside, effective - inside + 1, tail))
    high = 1.0 if share == 1 else float(scipy.special.betaincinv(inside + 1, effective - inside, 1 - tail))
    return Proportion(share, low, high, min(effective, float(rows)))


def _effective_rows(hits: NDArray[np.bool_], clusters: NDArray[np.intp], share: float, confidence: float) -> float:
    rows, units = len(hits), int(clusters.max()) + 1
    if units == rows or units < 2:
        return float(rows)
    if share in (0.0, 1.0):
        return float(units)
    distances = np.bincount(clusters, hits - share)
    over_clusters = units / (units - 1) * float(distances @ distances) / rows**2
    over_rows = share * (1 - share) / (rows - 1)
    upper = (1 + confidence) / 2
    # The spread of few clusters is itself uncertain.
    fewer = (scipy.special.stdtrit(rows - 1, upper) / scipy.special.stdtrit(units - 1, upper)) ** 2
    return float(min(rows, rows * over_rows / over_clusters * fewer)) if over_clusters else float(rows)
