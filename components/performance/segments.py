"""Test the losses of each part of the rows: a model may fail for some while the mean hardly moves.

Parts are the slices and groups that the project declares for its evaluation, as far as their columns are logged. A part
has its own reference, its own test, and its share of the budget of false alarms.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from components.performance import losses
from components.performance.losses import Losses
from components.shared.documents.monitoring import SegmentLoss
from components.shared.inference_log.columns import RECEIVED
from components.shared.measures.slices import Groups, Slice
from components.shared.sequential import change_point
from components.shared.sequential.e_detector import EDetector

SEGMENTS_MAX = 20
"""More would leave none of them enough of the budget; the largest are tested."""
FEWEST_REFERENCE_ROWS = 100
"""Below that, the tolerated loss of a part is so wide that its test finds nothing."""


class Segments:
    """The parts of a reference that are large enough to be tested.

    Args:
        reference: The test rows with their features, ``received.<feature>``.
        declared: The columns, or combinations of them, whose values are the parts; those that are not in the
            reference are left out.
    """

    def __init__(self, reference: pa.Table, declared: Sequence[tuple[str, ...]]) -> None:
        self._reference = features(reference)
        logged = [names for names in declared if set(names) <= set(self._reference.column_names)]
        groups = Groups(self._reference, self._reference)
        parts = [part for names in logged for part in groups.slices(names) if len(part.rows) >= FEWEST_REFERENCE_ROWS]
        # A column with one value has no parts.
        parts = [part for part in parts if len(part.rows) < reference.num_rows]
        self._parts = sorted(parts, key=lambda part: -len(part.rows))[:SEGMENTS_MAX]

    def __len__(self) -> int:
        return len(self._parts)

    def measure(
        self, labeled: pa.Table, before: Losses, now: Losses, *, increase: float, run_length: float
    ) -> tuple[SegmentLoss, ...]:
        """Hand each part's days to a detector of its own.

        Args:
            labeled: The rows whose losses are ``now``, with their features.
            before: The losses of the reference.
            now: The losses of the labeled rows.
            increase: How much a loss may rise before it counts as worse.
            run_length: Average number of days between false alarms of one part.
        """
        rows = features(labeled)
        return tuple(
            self._measured(part, rows, before, now, increase, run_length)
            for part in self._parts
            if set(part.where) <= set(rows.column_names)
        )

    def _measured(
        self, part: Slice, rows: pa.Table, before: Losses, now: Losses, increase: float, run_length: float
    ) -> SegmentLoss:
        inside = now.taken(_like(part, Groups(self._reference, rows)))
        reference = before.taken(part.rows)
        return segment_loss(part.where, reference, inside, increase=increase, run_length=run_length, tests=len(self))


def segment_loss(
    where: Mapping[str, str], before: Losses, now: Losses, *, increase: float, run_length: float, tests: int = 1
) -> SegmentLoss:
    """Hand the days of a part to a detector.

    Args:
        where: Names the part.
        before: The losses of its rows in the reference, at least one.
        now: The losses of its labeled rows, which may be none.
        increase: How much the loss may rise before it counts as worse.
        run_length: Average number of days between false alarms.
        tests: Number of parts that are tested like this one.
    """
    e_values, _ = losses.e_values(before, increase, tests)
    detector, alarm = EDetector(e_values, run_length), None
    days, lost, labeled = now.by_day()
    for day, lost_rows, rows in zip(days, lost, labeled, strict=True):
        if detector.observe(lost_rows, rows):
            alarm = alarm or day
    reference_rate = float(before.losses.mean())
    return SegmentLoss(
        where=dict(where),
        labeled=len(now.losses),
        rate=float(now.losses.mean()) if len(now.losses) else None,
        reference_rate=reference_rate,
        tolerated=e_values.tolerated,
        alarm=alarm,
        changed_on=days[change_point.began(lost, labeled, reference_rate)] if alarm else None,
    )


def _like(part: Slice, groups: Groups) -> np.ndarray:
    """Return the numbers of the rows that are in a part."""
    inside = [groups.of(name).texts() == value for name, value in part.where.items()]
    return np.flatnonzero(np.logical_and.reduce(inside))


def features(table: pa.Table) -> pa.Table:
    """Return the features, called as the project calls them."""
    names = [name for name in table.column_names if name.startswith(RECEIVED)]
    return table.select(names).rename_columns([name.removeprefix(RECEIVED) for name in names])
