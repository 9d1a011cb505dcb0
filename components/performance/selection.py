"""Weigh rows whose labels were chosen by the model's own decisions.

A refused loan is never repaid, and a customer who was called may stay because of the call. The labels that are left are
those of a chosen part of the rows: of them, a model that ranks well seems to rank badly, and the wrong answers on the
other side are not seen at all. Where the server reverses a random share of such decisions, each row that shows its
label stands for 1 / probability rows (Horvitz and Thompson, "A generalization of sampling without replacement from a
finite universe", JASA 1952). Without that, nothing can be known.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

EXPLORED_MIN = 30
"""With fewer explored rows than this, performance is unknown."""


class Selection(NamedTuple):
    """The rows that show the label they would have had anyway.

    Attributes:
        rows: (usable,) their numbers in the table.
        weights: (usable,) how many rows each stands for, 1 or more.
        explored: How many of them the model had decided otherwise.
    """

    rows: NDArray[np.intp]
    weights: NDArray[np.float64]
    explored: int

    @property
    def smallest(self) -> float:
        """Return the smallest probability with which a row showed its label."""
        return float(1 / self.weights.max(initial=1.0))


def select(table: pa.Table, selective: Sequence[str]) -> Selection:
    """Return the rows with a label that the model's decision neither hid nor changed.

    Args:
        table: Columns decision (the model's), action (what was answered; null is the same), propensity (null is 1) and
            label (null is unknown).
        selective: Decisions that hide or change the label.
    """
    shows = shows_label(table, selective)
    usable = pc.and_(pc.is_valid(table["label"]), shows).to_numpy(zero_copy_only=False)
    otherwise = pc.is_in(table["decision"], pa.array(list(selective), pa.string())).to_numpy(zero_copy_only=False)
    propensity = pc.fill_null(table["propensity"], 1.0).to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(usable)
    return Selection(rows, 1 / propensity[rows], int(otherwise[rows].sum()))


def shows_label(table: pa.Table, selective: Sequence[str]) -> pa.ChunkedArray:
    """Return for each row whether what was answered neither hides nor changes its label."""
    answered = pc.coalesce(table["action"], table["decision"])
    return pc.invert(pc.is_in(answered, pa.array(list(selective), pa.string())))


def doubly_robust(
    loss: NDArray[np.float64], weights: NDArray[np.float64], expected: NDArray[np.float64], expected_of_all: float
) -> float:
    """Return the share of losses among all rows, steadied by what was expected of each (Robins and Rotnitzky, 1995).

    It is right if either the probabilities or the expectations are.

    Args:
        loss: (usable,) 0 or 1.
        weights: (usable,) how many rows each stands for.
        expected: (usable,) the loss that the scores let expect.
        expected_of_all: Mean of the expected loss over all rows.
    """
    return float(expected_of_all + (weights * (loss - expected)).sum() / weights.sum())
