"""Backtest the project's history: train at the start of each block, and measure each model on every later block."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from components.cadence import surrogate
from components.cadence.surrogate import Surrogate
from components.shared.errors import InputError
from components.shared.inputs.rows import Inputs
from components.shared.measures import value as money
from components.shared.project import Value
from components.shared.sequential import reference
from components.shared.sequential.e_detector import EDetector

FEWEST_BLOCKS = 8
_FEWEST_ROWS = 100
_BLOCKS, _BLOCK_DAYS, _FIRST_SHARE = 60, 7.0, 1 / 3
_ROWS_MAX = 20_000
"""The newest rows of a training, since more do not change how a model ages; and rows that are answered at once."""
_QUANTILE = 0.9
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Examples:
    """The labeled rows of the history, in the order of their times.

    Attributes:
        inputs: (n,) rows.
        labels: (n,) values, or class numbers (binary: 1 is positive).
        days: (n,) days since the first row.
        first: The time of the first row, UTC.
        task: The project's.
        value: What a decision is worth (binary).
    """

    inputs: Inputs
    labels: NDArray[np.float64]
    days: NDArray[np.float64]
    first: datetime
    task: str
    value: Value | None

    def losses(self, model: Surrogate, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what each row costs, and the error by which monitoring judges it: 0 or 1, or the size of an error."""
        parts = [rows[begin : begin + _ROWS_MAX] for begin in range(0, len(rows), _ROWS_MAX)]
        lost, errors = zip(*(self._losses(model, part) for part in parts), strict=True)
        return np.concatenate(lost), np.concatenate(errors)

    def _losses(self, model: Surrogate, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        answers, labels = model.answers(self.inputs.take(rows)), self.labels[rows]
        if self.task == "regression":
            errors = np.abs(answers - labels)
            return errors, errors
        if self.task == "multiclass":
            wrong = (model.model.classes_[answers.argmax(axis=1)] != labels).astype(float)
            return wrong, wrong
        costs = self.value or money.EQUAL_COSTS
        won, lost = money.stakes(costs)
        threshold = money.break_even_precision(costs)
        acts = answers[:, 1] >= (2.0 if threshold is None else threshold)
        wrong = (acts != (labels == 1)).astype(float)
        return np.where(acts, np.where(labels == 1, -won, lost), 0.0), wrong


@dataclass(frozen=True)
class AlarmTest:
    """When monitoring raises an alarm.

    Attributes:
        run_length_days: Average number of days between false alarms.
        increase: How much the loss may rise before it counts as worse.
    """

    run_length_days: float
    increase: float = 0.0


@dataclass(frozen=True)
class History:
    """What every model would have lost in every block.

    Attributes:
        losses: (blocks, blocks) loss of the model that is trained at the start of block i in block j; NaN for j < i.
        rows: (blocks,) rows of each block.
        alarms: (blocks,) the block at whose start monitoring would have raised an alarm about model i; -1 for never.
        start: The start of the first block.
        block_days: Length of a block.
    """

    losses: NDArray[np.float64]
    rows: NDArray[np.int64]
    alarms: NDArray[np.int64]
    start: datetime
    block_days: float


def play(examples: Examples, delay_days: float, window_days: float | None, alarms_of: AlarmTest) -> History:
    """Train at the start of each block with the labels that are known by then.

    Args:
        examples: The history.
        delay_days: Days after which a label is known.
        window_days: Train on the newest days only; None for all.
        alarms_of: When monitoring raises an alarm.

    Raises:
        InputError: If the history is too short, or has too few rows to train at the start of a block.
    """
    starts, block_days = _blocks(examples.days, delay_days)
    blocks = len(starts)
    block_of = np.floor((examples.days - starts[0]) / block_days).astype(int)
    losses, alarms = np.full((blocks, blocks), np.nan), np.full(blocks, -1)
    for index, begins in enumerate(starts):
        rows = _training_rows(examples, begins - delay_days, window_days)
        model = surrogate.fit(examples.inputs.take(rows), examples.labels[rows], is_regression=_is_value(examples))
        later = np.flatnonzero((block_of >= index) & (block_of < blocks))
        if not len(later):
            losses[index, index:] = 0.0
            continue
        lost, errors = examples.losses(model, later)
        losses[index, index:] = np.bincount(block_of[later] - index, lost, minlength=blocks - index)
        reference_errors = _cross_fitted(examples, rows)
        alarm_day = _alarm(examples.days, rows, reference_errors, later, errors, alarms_of)
        if alarm_day is not None:
            due = alarm_day + delay_days
            after = np.flatnonzero(starts >= due)
            alarms[index] = after[0] if len(after) else -1
    counted = np.bincount(block_of[(block_of >= 0) & (block_of < blocks)], minlength=blocks)
    return History(losses, counted, alarms, examples.first + float(starts[0]) * _DAY, block_days)


def _is_value(examples: Examples) -> bool:
    return examples.task == "regression"


def _blocks(days: NDArray[np.float64], delay_days: float) -> tuple[NDArray[np.float64], float]:
    """Return the starts of the blocks in days since the first row, and their length."""
    span = float(days[-1])
    begins: float = max(span * _FIRST_SHARE, delay_days + 1)
    rest = span - begins
    length = max(_BLOCK_DAYS, rest / _BLOCKS)
    if rest / length < FEWEST_BLOCKS:
        length = rest / FEWEST_BLOCKS
    if length < 1:
        raise InputError(
            f"the labeled rows span {span:.1f} days, and labels are known after {delay_days:g}; expected enough for a "
            f"first training and {FEWEST_BLOCKS} days after it. Collect labels for longer."
        )
    count = int(rest / length + 1e-9)
    return begins + length * np.arange(count, dtype=np.float64), length


def _training_rows(examples: Examples, until: float, window_days: float | None) -> NDArray[np.intp]:
    since = -1.0 if window_days is None else until - window_days
    rows = np.flatnonzero((examples.days <= until) & (examples.days > since))[-_ROWS_MAX:]
    classes = 2 if _is_value(examples) else len(np.unique(examples.labels[rows]))
    if len(rows) < _FEWEST_ROWS or classes < 2:
        moment = examples.first + until * _DAY
        raise InputError(
            f"{len(rows)} labeled rows with {classes} classes are known up to {moment:%Y-%m-%d}; expected at least "
            f"{_FEWEST_ROWS} rows and two classes to train on. Collect more labels, or lengthen 'split.newest_days'."
        )
    return rows


def _cross_fitted(examples: Examples, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the errors of rows by a model that was fitted on every second one of the others."""
    errors = np.empty(len(rows))
    for half in (0, 1):
        held = np.arange(len(rows)) % 2 == half
        other = rows[~held]
        if not _is_value(examples) and len(np.unique(examples.labels[other])) < 2:
            other = rows
        model = surrogate.fit(examples.inputs.take(other), examples.labels[other], is_regression=_is_value(examples))
        errors[held] = examples.losses(model, rows[held])[1]
    return errors


def _alarm(
    days: NDArray[np.float64],
    before: NDArray[np.intp],
    reference_errors: NDArray[np.float64],
    later: NDArray[np.intp],
    errors: NDArray[np.float64],
    alarms_of: AlarmTest,
) -> float | None:
    """Return the day whose losses prove that the loss has risen, by the test of monitoring; None if none does."""
    limit = np.quantile(reference_errors, _QUANTILE) if not np.isin(reference_errors, (0, 1)).all() else 0.5
    lost, rows = _by_day(days[before], reference_errors > limit)
    if np.count_nonzero(rows) < reference.FEWEST_DAYS:
        return None
    detector = EDetector(reference.estimate(lost, rows).rise(alarms_of.increase), alarms_of.run_length_days)
    first = float(days[later[0]])
    for day, (count, of) in enumerate(zip(*_by_day(days[later], errors > limit), strict=True)):
        if of and detector.observe(count, of):
            return first + day + 1
    return None


def _by_day(days: NDArray[np.float64], flags: NDArray[np.bool_]) -> tuple[Sequence[float], Sequence[int]]:
    number = (days - days.min()).astype(int)
    lost: list[float] = np.bincount(number, flags).tolist()
    rows: list[int] = np.bincount(number).tolist()
    return lost, rows
