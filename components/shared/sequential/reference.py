"""What a reference period says about the daily rate of an event: its mean, and how much days differ."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from components.shared.sequential.e_detector import BetaBinomialRise

# Sizes of a rise that are looked for, in standard deviations of a single 0/1 outcome.
_RISES = (0.05, 0.1, 0.2)
_HIGHEST_RATE = 0.999
FEWEST_DAYS = 10
"""A spread between fewer days than this cannot be bounded usefully."""


@dataclass(frozen=True)
class RateReference:
    """Upper bounds for the mean rate and for the standard deviation of the rate between days.

    Attributes:
        rate: Estimate of the mean rate.
        rate_bound: Upper confidence bound of the mean rate.
        spread: Estimate of the standard deviation between days, beyond chance.
        spread_bound: Upper confidence bound of that.
        days: Number of days with at least one trial.
    """

    rate: float
    rate_bound: float
    spread: float
    spread_bound: float
    days: int

    def rise(self, tolerance: float = 0.0) -> BetaBinomialRise:
        """Return e-values against a rate that has risen by more than a tolerance."""
        tolerated = min(self.rate_bound + tolerance, _HIGHEST_RATE)
        unit = (tolerated * (1 - tolerated)) ** 0.5
        alternatives = tuple(min(tolerated + size * unit, (tolerated + 1) / 2) for size in _RISES)
        return BetaBinomialRise(tolerated, self.spread_bound, alternatives)


def estimate(
    successes: Sequence[float], trials: Sequence[int], confidence: float = 0.8, *, unit_variance: float | None = None
) -> RateReference:
    """Estimate the daily rate and its spread from the counts of a reference period.

    The spread is the method of moments for a beta-binomial distribution (Pearson's statistic against its expectation,
    as in DerSimonian and Laird, "Meta-analysis in clinical trials", 1986). Its bound takes the statistic as a
    multiple of a chi-squared variable; the bound of the mean is Student's t.

    Args:
        successes: Number of events per day.
        trials: Number of trials per day; days without trials are left out.
        confidence: Probability of each bound, above 0.5 and below 1.
        unit_variance: Variance of a single value within a day, above 0; None is that of an event, p (1 - p). Values
            between 0 and 1 that are no events vary less, which would hide how much days differ.

    Raises:
        ValueError: If there are fewer than ``FEWEST_DAYS`` days with trials.
    """
    n = np.array(trials, float)
    k = np.array(successes, float)[n > 0]
    n = n[n > 0]
    if len(n) < FEWEST_DAYS:
        raise ValueError(f"a reference of {len(n)} days with observations; at least {FEWEST_DAYS} are needed")
    total, degrees = n.sum(), len(n) - 1
    # One event and one non-event are added, or a rate of 0 would have no spread at all.
    rate = (k.sum() + 0.5) / (total + 1)
    variance = rate * (1 - rate) if unit_variance is None else unit_variance
    pearson = float(((k - n * rate) ** 2 / n).sum() / variance)
    per_unit = total - (n**2).sum() / total

    def spread(statistic: float) -> float:
        return float(np.sqrt(max(statistic - degrees, 0.0) * variance / per_unit))

    bound = spread(pearson * degrees / stats.chi2.ppf(1 - confidence, degrees))
    error = np.sqrt(((n / total) ** 2 * (spread(pearson) ** 2 + variance / n)).sum())
    upper = rate + stats.t.ppf(confidence, degrees) * error
    return RateReference(float(rate), float(min(upper, _HIGHEST_RATE)), spread(pearson), bound, len(n))
