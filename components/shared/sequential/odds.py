"""E-values that the odds of an event have risen in one group, compared with everybody else on the same day.

Given how many rows of a day are in the group and how many have the event, the number that are and have both follows
Fisher's noncentral hypergeometric distribution, whose only parameter is the odds ratio. So what changes the odds of
all rows alike, such as the day or a shifted population, changes nothing here. The likelihood ratio of a higher odds
ratio to the tolerated one grows with the count, and the distributions have a monotone likelihood ratio: its expectation
is at most 1 for every odds ratio up to the tolerated one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OddsRise:
    """The odds ratio of a group has risen above a tolerated one.

    Attributes:
        tolerated: The highest odds ratio that is no rise, above 0.
        factors: How many times higher the odds ratios are that are looked for, each above 1.
    """

    tolerated: float
    factors: tuple[float, ...] = (1.25, 1.6, 2.5)

    def __post_init__(self) -> None:
        if not self.tolerated > 0 or not self.factors or not all(factor > 1 for factor in self.factors):
            raise ValueError(f"tolerated {self.tolerated} must be above 0, and each factor of {self.factors} above 1")

    @property
    def sizes(self) -> int:
        """Number of factors."""
        return len(self.factors)

    def log_values(self, inside: int, rows_inside: int, events: int, rows: int) -> Floats:
        """Return the logarithms of the e-values of one day, of shape (sizes,).

        Args:
            inside: Events in the group.
            rows_inside: Rows of the group.
            events: Events of all rows, at least ``inside``.
            rows: All rows, at least ``rows_inside``.
        """
        counts = np.arange(max(0, events - (rows - rows_inside)), min(rows_inside, events) + 1, dtype=float)
        ways = _log_choose(rows_inside, counts) + _log_choose(rows - rows_inside, events - counts)
        before = np.log(self.tolerated)
        normal = logsumexp(ways + counts * before)
        return np.array(
            [
                inside * np.log(factor) - (logsumexp(ways + counts * (before + np.log(factor))) - normal)
                for factor in self.factors
            ]
        )


def _log_choose(n: int, k: Floats) -> Floats:
    chosen: Floats = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return chosen
