"""Tail probabilities of the test statistics, and the critical values that belong to them."""

import functools
import math
from collections.abc import Callable


def chi_squared_tail(value: float, degrees: int) -> float:
    """Return the probability that a chi-squared variable exceeds ``value``, exact for integer degrees of freedom.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.4.4 and 26.4.5.

    >>> round(chi_squared_tail(0.5556, 3), 4)
    0.9065
    """
    if value <= 0:
        return 1.0
    half = value / 2
    start, first = (0.0, degrees // 2) if degrees % 2 == 0 else (0.5, (degrees - 1) // 2)
    total = math.erfc(math.sqrt(half)) if degrees % 2 else 0.0
    total += math.fsum(
        math.exp(-half + (start + term) * math.log(half) - math.lgamma(start + term + 1)) for term in range(first)
    )
    return min(1.0, total)


@functools.cache
def chi_squared_critical(probability: float, degrees: int) -> float:
    """Return the value that a chi-squared variable exceeds with this probability.

    >>> round(chi_squared_critical(0.05, 3), 3)
    7.815
    """
    return _critical(lambda value: chi_squared_tail(value, degrees), probability, high=10.0 * degrees + 1500.0)


def kolmogorov_tail(value: float) -> float:
    """Return the probability that the largest distance of a Brownian bridge from zero exceeds ``value``.

    >>> round(kolmogorov_tail(1.36), 3)
    0.049
    """
    if value < 0.2:
        return 1.0  # The series converges slowly; its sum differs from 1 by less than 1e-12.
    terms = (2 * (-1) ** (term - 1) * math.exp(-2 * term**2 * value**2) for term in range(1, 22))
    return min(1.0, max(0.0, math.fsum(terms)))


@functools.cache
def kolmogorov_critical(probability: float) -> float:
    """Return the value that the largest distance of a Brownian bridge from zero exceeds with this probability.

    >>> round(kolmogorov_critical(0.05), 3)
    1.358
    """
    return _critical(kolmogorov_tail, probability, high=20.0)


def normal_tail(value: float) -> float:
    """Return the probability that a standard normal variable is farther from zero than ``value``, on either side."""
    return math.erfc(abs(value) / math.sqrt(2))


@functools.cache
def normal_critical(probability: float) -> float:
    """Return the distance from zero that a standard normal variable exceeds with this probability, on either side.

    >>> round(normal_critical(0.05), 3)
    1.96
    """
    return _critical(normal_tail, probability, high=40.0)


def _critical(tail: Callable[[float], float], probability: float, high: float) -> float:
    """Invert a decreasing tail by bisection."""
    low = 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > probability else (low, middle)
    return high
