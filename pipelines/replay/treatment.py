"""Customers who would have left and stay, because a decision of the model led to an offer."""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Key = tuple[str, datetime]
"""The entity and the event time of a row."""

_STAYED = 0


class Treatment:
    """What acting on customers does to their labels; the labels are those of somebody who only looks.

    Args:
        share: Share of the customers about to leave who stay if they are acted on, in [0, 1].
        since: The first moment at which acting has an effect.
        seed: Decides who stays.
    """

    def __init__(self, share: float, since: datetime, seed: int) -> None:
        self._share, self._since = share, since
        self._draws = np.random.default_rng([seed, *b"treatment"])
        self._stayed: set[Key] = set()

    def apply(self, keys: Sequence[Key], acted_on: np.ndarray, leaves: np.ndarray) -> None:
        """Let some of the customers stay who were acted on and would have left.

        Args:
            keys: The rows.
            acted_on: (n_rows,) bool, whether the decision was to act.
            leaves: (n_rows,) bool, whether the customer leaves if nobody acts.
        """
        persuaded = self._draws.random(len(keys)) < self._share
        self._stayed |= {
            key
            for key, stays in zip(keys, acted_on & leaves & persuaded, strict=True)
            if stays and key[1] >= self._since
        }

    def labels(self, table: pa.Table, entity: str, event_time: str, label: str) -> pa.Table:
        """Return a table of labels in which whoever was persuaded has stayed.

        Args:
            table: Labels of any time.
            entity: Its column with the customer.
            event_time: Its column with the time of the example.
            label: Its column with the label.
        """
        if not self._stayed:
            return table
        rows = zip(table[entity].to_pylist(), table[event_time].to_pylist(), strict=True)
        stays = pa.array([key in self._stayed for key in rows], pa.bool_())
        column = pc.if_else(stays, pa.scalar(_STAYED, table[label].type), table[label])
        return table.set_column(table.column_names.index(label), label, column)
