"""A two-sided comparison that is looked at a limited number of times: Lan and DeMets' spending of the error.

The statistic Z after a fraction t of the planned information behaves like a Brownian motion B(t) = Z sqrt(t). At each
look the test may stop where |Z| reaches a bound, chosen so that the probability of ever having stopped, if there is no
difference, is what the spending function allows by then. The function here spends as O'Brien and Fleming's bounds do:
hardly anything early, nearly all at the end. The times of the looks need not be known beforehand, only that they do not
depend on the results (Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika, 1983). The
bounds are found by the numerical integration of Armitage, McPherson and Rowe (1969).
"""

import functools
from collections.abc import Sequence
from math import erfc, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

_NORMAL = NormalDist()
_NODES = 160
"""Points of the integration over the region in which the test goes on; more change the bounds by less than 1e-4."""
_WIDEST = 8.0
_INFLATION = 1.08
"""How much more information a test with looks plans for than one without, to keep its power (with O'Brien and Fleming's
bounds at most 1.03 for up to ten looks)."""


def spent(error: float, fraction: float) -> float:
    """Return how much of the error may have been spent after a fraction of the information, on both sides together.

    >>> round(spent(0.05, 0.5), 5), round(spent(0.05, 1.0), 5)
    (0.00305, 0.05)
    """
    if fraction <= 0:
        return 0.0
    return 4 * (1 - _NORMAL.cdf(_NORMAL.inv_cdf(1 - error / 4) / sqrt(min(fraction, 1.0))))


def information(effect: float, error: float, power: float) -> float:
    """Return the information, 1 / the variance of the estimated difference, that finds an effect with some power.

    >>> round(information(1.0, 0.05, 0.8), 2)
    8.48
    """
    return _INFLATION * ((_NORMAL.inv_cdf(1 - error / 2) + _NORMAL.inv_cdf(power)) / effect) ** 2


def bounds(error: float, fractions: Sequence[float], earlier_bounds: Sequence[float] = ()) -> list[float]:
    """Return the bound of |Z| at each look.

    Args:
        error: Of both sides together; above 0 and below 1.
        fractions: Of the planned information, growing, above 0; a look at 1 or more is the last one.
        earlier_bounds: The bounds of the first looks, if they were computed before.

    Raises:
        ValueError: If the fractions do not grow.

    >>> [round(bound, 3) for bound in bounds(0.05, [0.5, 1.0])]
    [2.963, 1.969]
    """
    if not all(0 < earlier < later for earlier, later in zip([1e-12, *fractions], fractions, strict=False)):
        raise ValueError(f"the fractions {list(fractions)} do not grow from above 0")
    all_bounds: list[float] = []
    points, density = np.zeros(1), np.ones(1)
    weights, before, time = np.ones(1), 0.0, 0.0
    for number, fraction in enumerate(fractions):
        now = spent(error, fraction)
        step = sqrt(fraction - time)
        is_given = number < len(earlier_bounds)
        bound = (
            earlier_bounds[number]
            if is_given
            else _bound(points, density * weights, step, sqrt(fraction), now - before)
        )
        all_bounds.append(bound)
        ends, own_weights = _nodes(bound * sqrt(fraction))
        density = _moved(points, density * weights, ends, step)
        points, weights, before, time = ends, own_weights, now, fraction
    return all_bounds


def _bound(points: NDArray[np.float64], mass: NDArray[np.float64], step: float, root: float, wanted: float) -> float:
    """Find the bound beyond which the motion, which has not stopped before, is with the wanted probability."""
    low, high = 0.0, _WIDEST
    for _ in range(40):
        middle = (low + high) / 2
        if _beyond(points, mass, step, middle * root) > wanted:
            low = middle
        else:
            high = middle
    return high


def _beyond(points: NDArray[np.float64], mass: NDArray[np.float64], step: float, edge: float) -> float:
    scale = step * sqrt(2)
    outside = [0.5 * (erfc((edge - point) / scale) + erfc((edge + point) / scale)) for point in points.tolist()]
    return float(mass @ np.array(outside))


def _nodes(edge: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points between -edge and edge with the weights of Gauss and Legendre."""
    points, weights = _unit_nodes()
    return points * edge, weights * edge


@functools.cache
def _unit_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.polynomial.legendre.leggauss(_NODES)


def _moved(
    points: NDArray[np.float64], mass: NDArray[np.float64], ends: NDArray[np.float64], step: float
) -> NDArray[np.float64]:
    """Return the density at ``ends`` of a motion that was at ``points`` one step before."""
    distance = (ends[:, None] - points[None, :]) / step
    density: NDArray[np.float64] = (np.exp(-0.5 * distance**2) / (step * sqrt(2 * np.pi))) @ mass
    return density
