"""Test the losses of the rows with the positive answer: a model may act in vain while the mean hardly moves.

Where few rows are positive, the share of wrong answers says little about decisions: a model that has become useless and
acts as often as before answers hardly more rows wrongly. Of the rows that it acts on, hardly any is right any more.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.performance import segments
from components.performance.losses import Losses
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import SegmentLoss

_DECISION = "decision"


def where(facts: ModelFacts) -> dict[str, str] | None:
    """Name the part of the rows with the positive answer; None if no answer is."""
    return None if facts.positive is None else {_DECISION: str(facts.positive)}


def are_enough(reference: pa.Table, positive: str) -> bool:
    """Return whether so many rows of a reference have the positive answer that their losses can be tested."""
    return len(_answered(reference, positive)) >= segments.FEWEST_REFERENCE_ROWS


def measure(
    reference: pa.Table,
    labeled: pa.Table,
    before: Losses,
    now: Losses,
    positive: str,
    *,
    increase: float,
    run_length: float,
) -> tuple[SegmentLoss, ...]:
    """Hand the days of the rows with the positive answer to a detector; nothing if the reference has too few of them.

    Args:
        reference: The test rows, with their decision.
        labeled: The labeled rows, with their decision.
        before: The losses of the reference.
        now: The losses of the labeled rows.
        positive: The answer that calls for action.
        increase: How much the loss may rise before it counts as worse.
        run_length: Average number of days between false alarms.
    """
    acted = _answered(reference, positive)
    if not are_enough(reference, positive):
        return ()
    inside = now.taken(_answered(labeled, positive))
    return (
        segments.segment_loss(
            {_DECISION: positive}, before.taken(acted), inside, increase=increase, run_length=run_length
        ),
    )


def _answered(table: pa.Table, answer: str) -> NDArray[np.intp]:
    return np.flatnonzero(pc.equal(table[_DECISION], answer).to_numpy(zero_copy_only=False))
