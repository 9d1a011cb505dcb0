"""The rule of thumb that a model must beat: one question about one feature, or no question at all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs.categories import frequent
from components.shared.inputs.rows import Inputs
from components.shared.measures.ranking import Floats

# A side of the question holds at least this share of the training rows.
_SMALLEST_SIDE = 0.01
_CUTS = 64
_VALUES = 50


@dataclass(frozen=True)
class Rule:
    """Answer ``yes`` where ``asks`` is true and ``no`` elsewhere; ``answer`` is (classes,) or (1,)."""

    question: str | None
    asks: Callable[[Inputs], NDArray[np.bool_]]
    yes: Floats
    no: Floats
    gain: float

    def score(self, inputs: Inputs) -> Floats:
        """Return (rows, classes or 1)."""
        return np.where(self.asks(inputs)[:, None], self.yes, self.no)


def constant(targets: Floats) -> Rule:
    """Return the rule that asks nothing: the shares of the classes, or the mean, of the training rows."""
    mean = targets.mean(axis=0)
    return Rule(None, lambda inputs: np.ones(len(inputs), dtype=bool), mean, mean, 0.0)


def best(train: Inputs, targets: Floats, numeric: Sequence[str], categorical: Sequence[str]) -> Rule:
    """Return the single question that explains most of the variance of ``targets`` on the training rows.

    Numbers are asked "at least this much?" at up to 64 quantiles or "missing?", categories "is it this value?" for the
    50 most frequent. The gain is the between-group sum of squares: for class indicators the decrease of Gini impurity.

    Args:
        train: The training rows.
        targets: (rows, classes) indicators, or (rows, 1) labels of a regression.
        numeric: Names of the columns of ``train.numeric``.
        categorical: Names of the columns of ``train.categorical``.
    """
    found = [constant(targets)]
    found += [_ask_number(train.numeric[:, i], name, i, targets) for i, name in enumerate(numeric)]
    found += [_ask_missing(train.numeric[:, i], name, i, targets) for i, name in enumerate(numeric)]
    found += [_ask_category(train.categorical[:, i], name, i, targets) for i, name in enumerate(categorical)]
    return max(found, key=lambda rule: rule.gain)


def _gain(rows_yes: Floats, sums_yes: Floats, targets: Floats) -> Floats:
    """Between-group sum of squares per question; (questions,) and (questions, classes) -> (questions,)."""
    n, total = len(targets), targets.sum(axis=0)
    rows_no, sums_no = n - rows_yes, total - sums_yes
    enough = np.minimum(rows_yes, rows_no) >= max(1.0, _SMALLEST_SIDE * n)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = sums_yes / rows_yes[:, None] - sums_no / rows_no[:, None]
        return np.where(enough, rows_yes * rows_no / n * (apart**2).sum(axis=1), 0.0)


def _ask_number(column: NDArray[np.float32], name: str, index: int, targets: Floats) -> Rule:
    known = column[~np.isnan(column)]
    if not len(known):
        return constant(targets)
    # Cuts are values that occur, so that the sentence reads like the data.
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, _CUTS + 1)[1:], method="inverted_cdf"))
    bucket = np.searchsorted(cuts, np.where(np.isnan(column), -np.inf, column), side="right")
    rows = np.bincount(bucket, minlength=len(cuts) + 1)[::-1].cumsum()[::-1][1:].astype(float)
    sums = np.stack([np.bincount(bucket, column_, len(cuts) + 1)[::-1].cumsum()[::-1][1:] for column_ in targets.T], 1)
    gains = _gain(rows, sums, targets)
    cut = cuts[int(gains.argmax())]
    return _rule(f"{name} >= {float(cut):.6g}", lambda inputs: inputs.numeric[:, index] >= cut, column >= cut, targets,
                 float(gains.max()))  # fmt: skip


def _ask_missing(column: NDArray[np.float32], name: str, index: int, targets: Floats) -> Rule:
    yes = np.isnan(column)
    gain = float(_gain(np.array([yes.sum()], dtype=np.float64), targets[yes].sum(axis=0)[None], targets)[0])
    return _rule(f"{name} is missing", lambda inputs: np.isnan(inputs.numeric[:, index]), yes, targets, gain)


def _ask_category(column: NDArray[np.object_], name: str, index: int, targets: Floats) -> Rule:
    values = [*frequent(column, _VALUES), ""]
    number = {value: i for i, value in enumerate(values)}
    codes = np.array([number.get(value, len(values)) for value in column])
    rows = np.bincount(codes, minlength=len(values) + 1)[: len(values)].astype(np.float64)
    by_class = [np.bincount(codes, column_, len(values) + 1)[: len(values)] for column_ in targets.T]
    sums = np.stack(by_class, axis=1).astype(np.float64)
    gains = _gain(rows, sums, targets)
    value = values[int(gains.argmax())]
    question = f"{name} = {value!r}" if value else f"{name} is missing"
    return _rule(question, lambda inputs: inputs.categorical[:, index] == value, column == value, targets,
                 float(gains.max()))  # fmt: skip


def _rule(
    question: str, asks: Callable[[Inputs], NDArray[np.bool_]], yes: NDArray[np.bool_], targets: Floats, gain: float
) -> Rule:
    if gain <= 0:
        return constant(targets)
    return Rule(question, asks, targets[yes].mean(axis=0), targets[~yes].mean(axis=0), gain)
