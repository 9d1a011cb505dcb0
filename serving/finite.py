"""Whether numbers are finite, quickly also for a few of them.

Between two small requests the processor forgets numpy's code, so that one of its functions costs ten times as much
there as in a loop that measures it; Python's own are in use anyway.
"""

import math

import numpy as np

_FEW = 64


def has_infinity(values: np.ndarray) -> bool:
    """Return whether a number is infinite; NaN is not.

    >>> [has_infinity(np.array([[1, np.nan, value]])) for value in (2, np.inf, -np.inf)]
    [False, True, True]
    """
    if values.size <= _FEW:
        return any(map(math.isinf, values.ravel().tolist()))
    return bool(np.isinf(values).any())


def all_finite(values: np.ndarray) -> bool:
    """Return whether no number is NaN or infinite.

    >>> [all_finite(np.array([1, value], np.float32)) for value in (2, np.inf, np.nan)]
    [True, False, False]
    """
    if values.size <= _FEW:
        return all(map(math.isfinite, values.ravel().tolist()))
    return bool(np.isfinite(values).all())


def ignore_overflow() -> None:
    """Let numbers become infinite without a warning, in this thread and the tasks that it starts; they are checked."""
    np.seterr(over="ignore")
