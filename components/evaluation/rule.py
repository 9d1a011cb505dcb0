"""The rule of thumb that a model must beat: one question about one feature, or a constant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.shared.inputs.categories import frequent
from components.shared.inputs.rows import Inputs
from components.shared.measures.ranking import Floats

# Each answer of a question must have at least this share of the training rows.
_SMALLEST_SIDE = 0.01
_CUTS = 64
_VALUES = 50


@dataclass(frozen=True)
class Rule:
    """A rule that scores ``yes`` where ``asks`` is true and ``no`` elsewhere; both are (classes,) or (1,)."""

    question: str | None
    asks: Callable[[Inputs], NDArray[np.bool_]]
    yes: Floats
    no: Floats
    gain: float

    def score(self, inputs: Inputs) -> Floats:
        """Return the scores, (rows, classes) or (rows, 1)."""
        return np.where(self.asks(inputs)[:, None], self.yes, self.no)


def constant(targets: Floats) -> Rule:
    """Return the rule without a question: the shares of the classes, or the mean, of the training rows."""
    mean = targets.mean(axis=0)
    return Rule(None, lambda inputs: np.ones(len(inputs), dtype=bool), mean, mean, 0.0)


def best(train: Inputs, targets: Floats, numeric: Sequence[str], categorical: Sequence[str]) -> Rule:
    """Return the single question that explains most of the variance of ``targets`` on the training rows.

    A numeric feature is compared with up to 64 quantiles or tested for a missing value; a categorical feature is
    compared with its 50 most frequent values. The gain of a question is the between-group sum of squares, which for
    class indicators is the decrease of the Gini impurity.

    Args:
        train: The training rows.
        targets: (rows, classes) indicators, or (rows, 1) labels of a regression.
        numeric: Names of the columns of ``train.numeric``.
        categorical: Names of the columns of ``train.categorical``.
    """
    rules = [constant(targets)]
    rules += [_best_cut(train.numeric[:, i], name, i, targets) for i, name in enumerate(numeric)]
    rules += [_is_missing(train.numeric[:, i], name, i, targets) for i, name in enumerate(numeric)]
    rules += [_best_category(train.categorical[:, i], name, i, targets) for i, name in enumerate(categorical)]
    return max(rules, key=lambda rule: rule.gain)


def _best_cut(column: NDArray[np.float32], name: str, index: int, targets: Floats) -> Rule:
    """Return the rule ``column >= cut`` with the highest gain; a missing value is never above a cut."""
    present = column[~np.isnan(column)]
    if not len(present):
        return constant(targets)
    # Each cut is a value of the column, so that the question reads like the data.
    cuts = np.unique(np.quantile(present, np.linspace(0, 1, _CUTS + 1)[1:], method="inverted_cdf"))
    # The bucket of a row is the number of cuts at or below its value; 0 also holds the missing values.
    bucket = np.searchsorted(cuts, np.where(np.isnan(column), -np.inf, column), side="right")
    rows, sums = _totals(bucket, len(cuts) + 1, targets)
    # The rows at or above cut k are those in the buckets after k, so their totals are sums from the end.
    rows_above = rows[::-1].cumsum()[::-1][1:]
    sums_above = sums[::-1].cumsum(axis=0)[::-1][1:]
    gains = _gain(rows_above, sums_above, targets)
    cut = cuts[int(gains.argmax())]
    question = f"{name} >= {float(cut):.6g}"
    return _rule(question, lambda inputs: inputs.numeric[:, index] >= cut, column >= cut, targets, float(gains.max()))


def _is_missing(column: NDArray[np.float32], name: str, index: int, targets: Floats) -> Rule:
    """Return the rule that the numeric feature is missing."""
    missing = np.isnan(column)
    rows, sums = _totals(missing.astype(np.intp), 2, targets)
    gain = float(_gain(rows[1:], sums[1:], targets)[0])
    return _rule(f"{name} is missing", lambda inputs: np.isnan(inputs.numeric[:, index]), missing, targets, gain)


def _best_category(column: NDArray[np.object_], name: str, index: int, targets: Floats) -> Rule:
    """Return the rule ``column = value`` with the highest gain; the missing value "" is one of the values."""
    values = [*frequent(column, _VALUES), ""]
    code_of = {value: code for code, value in enumerate(values)}
    # All rarer values share the last code, about which no question is asked.
    codes = np.array([code_of.get(value, len(values)) for value in column])
    rows, sums = _totals(codes, len(values) + 1, targets)
    gains = _gain(rows[:-1], sums[:-1], targets)
    value = values[int(gains.argmax())]
    question = f"{name} = {value!r}" if value else f"{name} is missing"
    is_value = column == value
    return _rule(question, lambda inputs: inputs.categorical[:, index] == value, is_value, targets, float(gains.max()))


def _totals(codes: NDArray[np.intp], size: int, targets: Floats) -> tuple[Floats, Floats]:
    """Return for each code below ``size`` the number of its rows, and the sums of their targets per class."""
    rows = np.bincount(codes, minlength=size).astype(np.float64)
    sums = np.stack([np.bincount(codes, target, size) for target in targets.T], axis=1).astype(np.float64)
    return rows, sums


def _gain(rows_yes: Floats, sums_yes: Floats, targets: Floats) -> Floats:
    """Return the between-group sum of squares per question; (questions,) and (questions, classes) -> (questions,)."""
    n, total = len(targets), targets.sum(axis=0)
    rows_no, sums_no = n - rows_yes, total - sums_yes
    is_large = np.minimum(rows_yes, rows_no) >= max(1.0, _SMALLEST_SIDE * n)
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = sums_yes / rows_yes[:, None] - sums_no / rows_no[:, None]
        return np.where(is_large, rows_yes * rows_no / n * (difference**2).sum(axis=1), 0.0)


def _rule(
    question: str, test: Callable[[Inputs], NDArray[np.bool_]], is_yes: NDArray[np.bool_], targets: Floats, gain: float
) -> Rule:
    """Return the rule of a question, or the constant rule if the question gains nothing."""
    if gain <= 0:
        return constant(targets)
    return Rule(question, test, targets[is_yes].mean(axis=0), targets[~is_yes].mean(axis=0), gain)
