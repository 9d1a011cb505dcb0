"""Which rows are the newest ones, which earlier rows they are compared with, and how earlier periods differ."""

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from components.data_validation.sample import Sample, Times

ROWS_MIN = 50
"""Smallest number of rows on each side of a comparison."""
_PERIODS = 12
_PERIOD_ROWS = 100
_NEWEST_SHARE = 1 / 8

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Sides:
    """The rows to compare; ``periods`` are parts of the reference, each as long as the current rows or longer."""

    reference: Sample
    current: Sample
    periods: tuple[Positions, ...]


def newest_cut(times: Times) -> int | None:
    """Return the time after which the newest eighth of the rows of a snapshot lies; None if the rows have no order.

    >>> newest_cut(np.arange(80))
    69
    """
    cut = int(np.quantile(times, 1 - _NEWEST_SHARE, method="lower")) if len(times) else 0
    return cut if len(times) and times[0] < cut < times[-1] else None


def sides(reference: Sample, current: Sample, since: int | None) -> Sides | None:
    """Choose the rows to compare; None if fewer than 50 rows are on a side.

    The reference are the last twelve periods before ``since``, as long as the period of the current rows each, because
    older rows may come from another time of the business. Without an order, it is all rows.
    """
    if min(len(reference), len(current)) < ROWS_MIN:
        return None
    if since is None or reference.times is None or current.times is None:
        return Sides(reference, current, ())
    length = max(1, int(current.times[-1]) - since)
    periods = _periods(reference.times, since, length)
    if not periods:
        return Sides(reference, current, ())
    first = int(periods[0][0])
    return Sides(
        reference.at(np.arange(first, len(reference.times))),
        current,
        tuple(period - first for period in periods),
    )


def _periods(times: Times, since: int, length: int) -> list[Positions]:
    """Cut the times before ``since`` into periods of equal length, oldest first; none if fewer than three fit."""
    while True:
        edges = since - length * np.arange(_PERIODS, -1, -1)
        bounds = np.searchsorted(times, edges, side="right")
        parts = [np.arange(low, high) for low, high in itertools.pairwise(bounds)]
        # The oldest period counts if the table covers at least half of it.
        parts = [
            part for part, start in zip(parts, edges[:-1], strict=True) if len(part) and start + length // 2 >= times[0]
        ]
        if len(parts) < 3:
            return []
        if np.median([len(part) for part in parts]) >= _PERIOD_ROWS:
            return parts
        length *= 2


def moment(time: int | None) -> str | None:
    """Write microseconds since 1970 as an ISO 8601 time.

    >>> moment(1_700_000_000_000_000)
    '2023-11-14T22:13:20+00:00'
    """
    return None if time is None else (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).isoformat()
