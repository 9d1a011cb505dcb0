"""What a library of drift tests has to offer: a comparison of one column, and one of all columns together."""

from dataclasses import dataclass, replace
from typing import Protocol

import pyarrow as pa

from components.shared.documents.monitoring import JointDrift

ALPHA = 0.01
"""Probability of at least one finding by chance in a window, over all columns."""


@dataclass(frozen=True)
class ColumnComparison:
    """The comparison of one column.

    Attributes:
        statistic: What ``value`` is.
        value: Size of the difference; larger is more.
        threshold: Smallest value that matters.
        effect: Normed Wasserstein (numbers) or Jensen-Shannon distance (categories), whichever test was used.
        is_beyond_chance: Whether chance explains the difference badly enough.
    """

    statistic: str
    value: float
    threshold: float
    effect: float
    is_beyond_chance: bool

    @property
    def is_drift(self) -> bool:
        """Return whether the difference matters and is beyond chance."""
        return self.is_beyond_chance and self.value >= self.threshold

    def with_threshold_of_at_least(self, threshold: float) -> "ColumnComparison":
        """Return the comparison with a threshold that also covers ordinary variation."""
        return replace(self, threshold=max(self.threshold, threshold))


class Detector(Protocol):
    """A library of drift tests."""

    def column(self, reference: pa.ChunkedArray, rows: pa.ChunkedArray, tests: int) -> ColumnComparison:
        """Compare two columns, each with 50 known values or more: numbers (float64), truth values or texts.

        Args:
            reference: Values of the reference; missing ones are not compared.
            rows: Values of the window.
            tests: Number of tests of the window, by which ``ALPHA`` is divided.
        """

    def joint(self, reference: pa.Table, rows: pa.Table) -> JointDrift | None:
        """Compare all columns together; None if there are too few rows, or no columns."""
