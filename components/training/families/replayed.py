"""Which rows an incremental training takes: those that are new to the champion, and a sample of the old ones.

Training on new rows alone moves a model away from what it learned before; rehearsal, a share of old rows among the new
ones, is the remedy of Robins, "Catastrophic forgetting, rehearsal and pseudorehearsal" (Connection Science, 1995).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.learning import prepare
from components.shared.learning.prepare import RawData


@dataclass(frozen=True)
class ReplayedRows:
    """The rows to continue on.

    ``numbers`` is (n,) ascending numbers of training rows; ``new`` of them are new to the champion, ``old`` are not.
    """

    numbers: NDArray[np.int64]
    new: int
    old: int

    def __str__(self) -> str:
        """Say how many rows of which kind these are."""
        if not self.new:
            return f"on all {self.old:,} rows, because it has learned from each of them"
        return f"on {self.new:,} new rows and {self.old:,} old ones"


def chosen(is_old: NDArray[np.bool_], share: float, seed: int) -> ReplayedRows:
    """Choose all new rows, and as many old ones as have the wanted share of the rows that are chosen.

    Without new rows, all old ones are chosen: a training without a new row is one on what the project's tables hold.

    Args:
        is_old: (rows,) whether the champion has learned from a training row.
        share: Of the old rows among those chosen, in [0, 1); fewer if there are not so many.
        seed: Draws the old rows.

    >>> rows = chosen(np.array([True] * 80 + [False] * 20), share=0.2, seed=7)
    >>> str(rows)
    'on 20 new rows and 5 old ones'
    >>> bool((rows.numbers[-20:] >= 80).all())
    True
    """
    new, old = np.flatnonzero(~is_old), np.flatnonzero(is_old)
    if len(new):
        wanted = min(len(old), round(len(new) * share / (1 - share)))
        old = np.random.default_rng(seed).choice(old, wanted, replace=False)
    return ReplayedRows(np.sort(np.concatenate([new, old])), len(new), len(old))


def taken(data: RawData, on: ReplayedRows | None) -> RawData:
    """Keep only these training rows; None keeps all."""
    return data if on is None else prepare.taken(data, on.numbers)
