"""Of many rows, measure metrics on a random sample: their intervals are narrow enough."""

import numpy as np
from numpy.typing import NDArray

METRIC_ROWS_MAX = 50_000
_SEED = 7


def metric_rows(rows: int) -> NDArray[np.intp]:
    """Return the numbers of at most ``METRIC_ROWS_MAX`` of so many rows, in their order, the same ones every time."""
    if rows <= METRIC_ROWS_MAX:
        return np.arange(rows)
    return np.sort(np.random.default_rng(_SEED).permutation(rows)[:METRIC_ROWS_MAX])
