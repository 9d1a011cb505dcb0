"""Test whether the decisions of a model are worth less than on the test rows, in the project's own currency.

A row's value is its gain over leaving it alone. It lies between two known amounts, so the share of the best outcome
that a row fails to bring is a loss between 0 and 1, and is tested like one, with the spread between days that the rows'
own variance leaves. It falls as well when fewer rows call for action, which is nobody's mistake: so it says that less
is earned, and whether the model is to blame is for the loss to say.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.performance import losses, sampling
from components.performance.losses import Losses
from components.shared.documents.monitoring import WatchedMetric
from components.shared.measures import bootstrap
from components.shared.measures.value import stakes
from components.shared.project import Evaluation, Value
from components.shared.sequential.e_detector import EDetector

_PER = 1000
_SEED = 7


def is_testable(value: Value | None) -> bool:
    """Return whether a project says what decisions are worth, and acting on some row makes a difference."""
    return value is not None and any(stakes(value))


def measure(
    value: Value, evaluation: Evaluation, positive: str, reference: pa.Table, labeled: pa.Table, *, run_length: float
) -> WatchedMetric:
    """Measure what the decisions about the labeled rows were worth, and hand the days to a detector.

    Args:
        value: What a decision is worth; acting on some row has a value other than 0.
        evaluation: Says how intervals are computed.
        positive: The answer that calls for action, and the label that makes it right.
        reference: The test rows, at least one, with their decision and label.
        labeled: The labeled rows, at least one.
        run_length: Average number of days between false alarms.
    """
    before, now = gains(value, positive, reference), gains(value, positive, labeled)
    lost_before = Losses(losses.days(reference), _shortfall(value, before))
    e_values, guarantee = losses.e_values(lost_before, 0.0, are_events=False)
    detector, alarm = EDetector(e_values, run_length), None
    for day, lost, rows in zip(*Losses(losses.days(labeled), _shortfall(value, now)).by_day(), strict=True):
        if detector.observe(lost, rows):
            alarm = alarm or day
    shown = now[sampling.metric_rows(len(now))]
    drawn = bootstrap.distributions(
        lambda weights: {_PER: _PER * weights @ shown / weights.sum(axis=1)},
        np.arange(len(shown)),
        resamples=evaluation.resamples,
        seed=_SEED,
    )
    return WatchedMetric(
        signal="value",
        name=f"{value.currency} gained per {_PER:,} rows",
        metric=drawn[_PER].interval(evaluation.confidence).metric,
        reference=float(_PER * before.mean()),
        evidence=1.0 if alarm else min(detector.fraction, 1.0),
        alarm=alarm,
        run_length_days=run_length,
        guarantee=guarantee,
    )


def gains(value: Value, positive: str, table: pa.Table) -> NDArray[np.float64]:
    """Return each row's gain over leaving it alone: (rows,), in the project's currency."""
    won, lost = stakes(value)
    acted, is_positive = (
        pc.equal(table[name], positive).to_numpy(zero_copy_only=False).astype(bool) for name in ("decision", "label")
    )
    return np.where(acted, np.where(is_positive, won, -lost), 0.0)


def _shortfall(value: Value, gained: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each row stays behind the best outcome, as a share of the span of outcomes: 0 to 1."""
    won, lost = stakes(value)
    best, worst = max(won, -lost, 0.0), min(won, -lost, 0.0)
    return (best - gained) / (best - worst)
