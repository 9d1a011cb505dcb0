"""Months as integers and times as microseconds since 1970, both in UTC."""

from datetime import date

import numpy as np
from numpy.typing import NDArray

DAY = 86_400_000_000
ORIGIN = date(2023, 1, 1)
"""First day of the history of every simulated business."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def month_number(day: date) -> int:
    """Return the number of months since ``ORIGIN``.

    >>> month_number(date(2024, 2, 1))
    13
    """
    return (day.year - ORIGIN.year) * 12 + day.month - ORIGIN.month


def month_start(month: int | Ints) -> Ints:
    """Return the start of a month, or of an array of months, in microseconds since 1970."""
    months = np.asarray(month) + (ORIGIN.year - 1970) * 12 + ORIGIN.month - 1
    return months.astype("datetime64[M]").astype("datetime64[us]").astype(np.int64)
