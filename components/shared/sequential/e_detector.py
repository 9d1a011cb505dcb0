"""Detect that a risk has risen, with a stated average run length between false alarms.

An e-detector (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", The
New England Journal of Statistics in Data Science, 2023) is a process whose expected value after t observations is at
most t as long as nothing has changed. An alarm at the first value of c or more then comes after c observations or
more on average. This module has the Shiryaev-Roberts form, M = L * (M + 1): L is an e-value, whose expectation given
the past is at most 1 without a change. A weighted mean of several such processes, one for each size of change, is an
e-detector, too.

Two kinds of e-values are here:

1. ``BetaBinomialRise`` for counts of events per day whose rate differs from day to day by more than chance. It is the
   likelihood ratio of two beta-binomial distributions with the same concentration. The ratio is monotone in the
   count, so its expectation is at most 1 for every rate up to the tolerated one. It stays below 1.01 where the days
   differ less than assumed (numerically, over 20,000 random settings); where they differ more, nothing is promised.
2. ``BoundedMeanRise`` for means of values between 0 and 1. It is a bet against the mean (Waudby-Smith and Ramdas,
   "Estimating means of bounded random variables by betting", JRSS B, 2024), and assumes nothing but that the
   conditional mean is at most the tolerated one. It needs more days.

Podkopaev and Ramdas ("Tracking the risk of a deployed model and detecting harmful distribution shifts", ICLR 2022) test
for a risk that has risen in the same sense: what is tolerated is part of the null hypothesis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Without any spread between days, the beta-binomial distribution is the binomial one; this is close enough.
_SMALLEST_SPREAD = 1e-6
# exp of more than this is no float.
_LARGEST_EXPONENT = 700.0


class EValues(Protocol):
    """E-values of one observation, one for each size of change that is looked for."""

    @property
    def sizes(self) -> int:
        """Number of sizes of change."""

    def log_values(self, successes: float, trials: int) -> Floats:
        """Return the logarithms of the e-values of one day, of shape (sizes,)."""


@dataclass(frozen=True)
class BetaBinomialRise:
    """The rate of an event per day has risen above a tolerated rate.

    Attributes:
        tolerated: The highest rate that is not a rise, between 0 and 1 (exclusive).
        spread: Standard deviation of the rate between days at the tolerated rate, as an upper bound, 0 or more.
        alternatives: Rates that are looked for, each above ``tolerated`` and below 1.
    """

    tolerated: float
    spread: float
    alternatives: tuple[float, ...]

    def __post_init__(self) -> None:
        if not (0 < self.tolerated < 1 and self.spread >= 0):
            raise ValueError(f"tolerated {self.tolerated} must be between 0 and 1, and spread {self.spread} at least 0")
        if not self.alternatives or not all(self.tolerated < rate < 1 for rate in self.alternatives):
            raise ValueError(f"each of {self.alternatives} must be between {self.tolerated} and 1")

    @property
    def sizes(self) -> int:
        """Number of alternatives."""
        return len(self.alternatives)

    def log_values(self, successes: float, trials: int) -> Floats:
        """Return the log likelihood ratios of one day; a day without trials says nothing."""
        concentration = self._concentration()
        null = _log_beta_binomial(successes, trials, self.tolerated, concentration)
        return np.array(
            [_log_beta_binomial(successes, trials, rate, concentration) - null for rate in self.alternatives]
        )

    def _concentration(self) -> float:
        """Return alpha + beta of the rates' beta distribution; it is the same for all, or the ratio is not monotone."""
        variance = self.tolerated * (1 - self.tolerated)
        spread = min(max(self.spread, _SMALLEST_SPREAD), 0.99 * variance**0.5)
        concentration: float = variance / spread**2 - 1
        return concentration


@dataclass(frozen=True)
class BoundedMeanRise:
    """The mean of values between 0 and 1 has risen above a tolerated mean.

    Attributes:
        tolerated: The highest conditional mean that is not a rise, between 0 and 1 (exclusive).
        bets: Shares of the largest possible bet, each between 0 and 1 (exclusive).
    """

    tolerated: float
    bets: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)

    def __post_init__(self) -> None:
        if not 0 < self.tolerated < 1:
            raise ValueError(f"tolerated {self.tolerated} must be between 0 and 1")
        if not self.bets or not all(0 < bet < 1 for bet in self.bets):
            raise ValueError(f"each of {self.bets} must be between 0 and 1")

    @property
    def sizes(self) -> int:
        """Number of bets."""
        return len(self.bets)

    def log_values(self, successes: float, trials: int) -> Floats:
        """Return the logarithms of what each bet on the day's mean is worth; a day without trials says nothing.

        Args:
            successes: Sum of the day's values, between 0 and ``trials``.
            trials: Number of values.
        """
        if trials == 0:
            return np.zeros(self.sizes)
        return np.log1p(np.array(self.bets) * (successes / trials / self.tolerated - 1))


class Evidence:
    """Add up e-values, and raise an alarm when a change has probably happened; then start again.

    While nothing changes, the average number of observations until an alarm is at least ``run_length``.
    """

    def __init__(
        self, sizes: int, run_length: float, weights: Sequence[float] | None = None, state: Floats | None = None
    ) -> None:
        """Start without evidence, or where an earlier detector ended.

        Args:
            sizes: Number of sizes of change, and so of e-values of one observation.
            run_length: Average number of observations between false alarms, above 1.
            weights: Weight of each size of change, which add up to 1; equal by default.
            state: ``log_evidence`` of an earlier detector with the same e-values.

        Raises:
            ValueError: If an argument is out of its range.
        """
        if run_length <= 1:
            raise ValueError(f"run_length {run_length} must be above 1")
        shares = np.full(sizes, 1 / sizes) if weights is None else np.array(weights, float)
        if shares.shape != (sizes,) or (shares <= 0).any() or not np.isclose(shares.sum(), 1):
            raise ValueError(f"{sizes} weights above 0 that add up to 1 are needed, not {weights}")
        self.run_length = run_length
        self.log_evidence: Floats = np.full(sizes, -np.inf) if state is None else np.array(state, float)
        """Logarithm of the process of each size of change, of shape (sizes,); -inf before the first observation."""
        self._log_weights = np.log(shares)

    @property
    def log_value(self) -> float:
        """Logarithm of the e-detector's value."""
        return float(np.logaddexp.reduce(self._log_weights + self.log_evidence))

    @property
    def fraction(self) -> float:
        """The value as a share of what raises an alarm, from 0 up to 1 and above."""
        return exp(min(self.log_value - log(self.run_length), _LARGEST_EXPONENT))

    def add(self, log_values: Floats) -> bool:
        """Take the e-values of one observation into account; after an alarm the evidence is zero again.

        Args:
            log_values: Their logarithms, of shape (sizes,).

        Returns:
            Whether they raise an alarm.
        """
        self.log_evidence = log_values + np.logaddexp(self.log_evidence, 0.0)
        alarm = self.log_value >= log(self.run_length)
        if alarm:
            self.log_evidence = np.full(len(self.log_evidence), -np.inf)
        return alarm


class EDetector(Evidence):
    """Evidence from counts of a day."""

    def __init__(
        self, e_values: EValues, run_length: float, weights: Sequence[float] | None = None, state: Floats | None = None
    ) -> None:
        """Start as ``Evidence`` does, with the e-values of a day's counts."""
        super().__init__(e_values.sizes, run_length, weights, state)
        self._e_values = e_values

    def observe(self, successes: float, trials: int) -> bool:
        """Take one day into account; return whether it raises an alarm, after which the evidence is zero again."""
        return self.add(self._e_values.log_values(successes, trials))


def _log_beta_binomial(successes: float, trials: int, rate: float, concentration: float) -> float:
    """Return the log probability of a count, without the binomial coefficient."""
    alpha, beta = rate * concentration, (1 - rate) * concentration
    return (
        lgamma(successes + alpha)
        - lgamma(alpha)
        + lgamma(trials - successes + beta)
        - lgamma(beta)
        - lgamma(trials + concentration)
        + lgamma(concentration)
    )
