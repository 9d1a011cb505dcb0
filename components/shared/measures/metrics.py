"""Scorecards: one model's answers and the truth, measured for many weightings of the rows at once.

Each scorecard has ``primary(weights)`` for the metric that comparisons use, and ``measure(weights)`` for all of them.
``weights`` is (resamples, rows); each result is (resamples,), NaN where a metric is undefined.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import RocCurve
from components.shared.measures.metric_names import JUDGED_CLASS_ROWS, PRIMARY
from components.shared.measures.ranking import Floats, Ranking

# A probability of exactly 0 would make one wrong answer infinitely bad; this is float32's resolution.
_EPSILON = 1e-7


class Scorecard(Protocol):
    """What the bootstrap, slices and robustness ask of a task."""

    @property
    def truth(self) -> NDArray[Any]:
        """Return 0 or 1, the class number, or the label."""

    @property
    def score(self) -> Floats:
        """Return the model's answers."""

    def primary(self, weights: Floats) -> Floats:
        """Return the metric that comparisons use."""

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return every metric of the task by name."""

    def subset(self, rows: NDArray[np.intp]) -> "Scorecard":
        """Return the scorecard of some of the rows."""


def scorecard(
    task: str, truth: NDArray[Any], score: Floats, threshold: float | None, primary: str | None = None
) -> Scorecard:
    """Make the scorecard of a task.

    Args:
        task: binary, multiclass or regression.
        truth: (rows,) 0 or 1; class index; or the label itself.
        score: (rows,) probability of the positive class; (rows, classes) probabilities; (rows,) prediction.
        threshold: Scores at or above it are acted on (binary only; 0.5 when None).
        primary: Name of the metric that comparisons use; None for the default of the task.
    """
    metric = primary or PRIMARY[task]
    if task == "binary":
        return Binary(truth.astype(bool), score.astype(float), 0.5 if threshold is None else threshold, metric)
    if task == "multiclass":
        return Multiclass(truth.astype(int), score.astype(float), metric)
    return Regression(truth.astype(float), score.astype(float), metric)


def judged_classes(truth: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the classes with enough rows to judge a model on; all of them if fewer than two have enough.

    >>> judged_classes(np.repeat([0, 1, 2], [30, 5, 20])).tolist(), judged_classes(np.array([0, 1, 1])).tolist()
    ([0, 2], [0, 1])
    """
    classes, rows = np.unique(truth, return_counts=True)
    frequent = classes[rows >= JUDGED_CLASS_ROWS]
    return frequent if len(frequent) >= 2 else classes


@dataclass(frozen=True)
class Binary:
    """Probabilities of the positive class, and what acting at a threshold would do."""

    truth: NDArray[np.bool_]
    score: Floats
    threshold: float
    metric: str = PRIMARY["binary"]

    @cached_property
    def _ranking(self) -> Ranking:
        return Ranking.of(self.truth, self.score)

    @cached_property
    def acted(self) -> NDArray[np.bool_]:
        """Which rows are predicted positive; a score equal to the threshold is."""
        return self.score >= self.threshold

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which rows are decided rightly."""
        right: NDArray[np.bool_] = self.acted == self.truth
        return right

    @property
    def surprise(self) -> Floats:
        """Return each row's log loss."""
        certain = np.clip(self.score, _EPSILON, 1 - _EPSILON)
        losses: Floats = -np.where(self.truth, np.log(certain), np.log1p(-certain))
        return losses

    def primary(self, weights: Floats) -> Floats:
        """Return the metric that comparisons use."""
        return self._ranking.auc(weights) if self.metric == "auc" else self.measure(weights)[self.metric]

    def subset(self, rows: NDArray[np.intp]) -> "Binary":
        """Return the scorecard of some of the rows."""
        return Binary(self.truth[rows], self.score[rows], self.threshold, self.metric)

    def roc(self) -> RocCurve:
        """Return the ROC curve."""
        return self._ranking.roc()

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return ranking, probability and decision metrics."""
        columns = np.stack(
            [
                np.ones(len(self.truth)),
                self.acted & self.truth,
                self.acted & ~self.truth,
                ~self.acted & self.truth,
                (self.score - self.truth) ** 2,
                self.surprise,
            ],
            axis=1,
        )
        rows, tp, fp, fn, squares, surprise = (weights @ columns).T
        tn = rows - tp - fp - fn
        recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
        return {
            "auc": self._ranking.auc(weights),
            "average_precision": self._ranking.average_precision(weights),
            "brier": squares / rows,
            "log_loss": surprise / rows,
            "accuracy": (tp + tn) / rows,
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": _ratio(tp, tp + fp),
            "recall": recall,
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            "false_positive_rate": 1 - specificity,
            "selection_rate": (tp + fp) / rows,
        }


@dataclass(frozen=True)
class Multiclass:
    """Probabilities of k classes; the answer is the most probable one.

    ``auc_ovr`` is the unweighted mean, over the classes with enough rows, of the AUC of one class against the rest. A
    class without a row (or with nothing but rows) in a resample or a slice has no such AUC and is left out of the mean.
    """

    truth: NDArray[np.intp]
    score: Floats
    metric: str = PRIMARY["multiclass"]
    judged: tuple[int, ...] | None = None
    """Classes that ``auc_ovr`` averages over; None for those that have enough of these rows."""

    @cached_property
    def averaged(self) -> tuple[int, ...]:
        """Classes that ``auc_ovr`` averages over."""
        return tuple(judged_classes(self.truth).tolist()) if self.judged is None else self.judged

    @cached_property
    def _rankings(self) -> list[Ranking]:
        return [Ranking.of(self.truth == c, self.score[:, c]) for c in self.averaged]

    @cached_property
    def answer(self) -> NDArray[np.intp]:
        """Index of the most probable class; the first of equals."""
        most_probable: NDArray[np.intp] = self.score.argmax(axis=1)
        return most_probable

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Which rows are classified rightly."""
        right: NDArray[np.bool_] = self.answer == self.truth
        return right

    @property
    def surprise(self) -> Floats:
        """Return each row's log loss."""
        losses: Floats = -np.log(np.clip(self.score[np.arange(len(self.truth)), self.truth], _EPSILON, 1.0))
        return losses

    def primary(self, weights: Floats) -> Floats:
        """Return the metric that comparisons use."""
        return self._auc(weights) if self.metric == "auc_ovr" else self.measure(weights)[self.metric]

    def _auc(self, weights: Floats) -> Floats:
        return _mean_of_defined(np.stack([ranking.auc(weights) for ranking in self._rankings]))

    def subset(self, rows: NDArray[np.intp]) -> "Multiclass":
        """Return the scorecard of some of the rows."""
        return Multiclass(self.truth[rows], self.score[rows], self.metric, self.averaged)

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return ranking, probability and decision metrics; per-class means leave absent classes out."""
        classes = np.arange(self.score.shape[1])
        is_class = (self.truth[:, None] == classes).astype(float)
        is_answer = (self.answer[:, None] == classes).astype(float)
        rows = weights.sum(axis=1)
        hits, actual, answered = weights @ (is_class * is_answer), weights @ is_class, weights @ is_answer
        return {
            "auc_ovr": self._auc(weights),
            "accuracy": hits.sum(axis=1) / rows,
            "balanced_accuracy": _mean_of_defined(_ratio(hits, actual).T),
            "macro_f1": _mean_of_defined(np.where(actual > 0, _ratio(2 * hits, actual + answered), np.nan).T),
            "log_loss": weights @ self.surprise / rows,
        }


@dataclass(frozen=True)
class Regression:
    """Predictions in the label's own unit."""

    truth: Floats
    score: Floats
    metric: str = PRIMARY["regression"]

    def primary(self, weights: Floats) -> Floats:
        """Return the metric that comparisons use."""
        return self.measure(weights)[self.metric]

    def subset(self, rows: NDArray[np.intp]) -> "Regression":
        """Return the scorecard of some of the rows."""
        return Regression(self.truth[rows], self.score[rows], self.metric)

    def measure(self, weights: Floats) -> dict[str, Floats]:
        """Return R squared (1 - residual / total variance), RMSE, MAE and the mean error (prediction - truth)."""
        error = self.score - self.truth
        # Centred first: the variance of a label of 1e9 +- 1 would otherwise drown in rounding.
        centred = self.truth - self.truth.mean()
        columns = np.stack([np.ones(len(error)), error, np.abs(error), error**2, centred, centred**2], axis=1)
        rows, errors, absolute, squares, first, second = (weights @ columns).T
        spread = second - first**2 / rows
        return {
            "r2": np.where(spread > 1e-12 * np.maximum(second, 1e-300), 1 - _ratio(squares, spread), np.nan),
            "rmse": np.sqrt(squares / rows),
            "mae": absolute / rows,
            "mean_error": errors / rows,
            "scaled_error_p90": self._scaled_error_p90(weights),
        }

    def _scaled_error_p90(self, weights: Floats) -> Floats:
        """Return the 90 % quantile of the absolute error, in standard deviations of the label; NaN if that is 0."""
        spread = float(self.truth.std())
        if spread == 0 or not len(self.truth):
            return np.full(len(weights), np.nan)
        error = np.abs(self.score - self.truth)
        order = np.argsort(error)
        cumulated = np.cumsum(weights[:, order], axis=1)
        # The first row at which 90 % of the weight is reached.
        position = np.minimum((cumulated < 0.9 * cumulated[:, -1:]).sum(axis=1), len(error) - 1)
        quantiles: Floats = error[order][position] / spread
        return quantiles


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Divide; NaN where the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def _mean_of_defined(by_class: Floats) -> Floats:
    """Average over the first axis without the NaN; NaN where nothing is defined."""
    defined = ~np.isnan(by_class)
    return _ratio(np.where(defined, by_class, 0.0).sum(axis=0), defined.sum(axis=0).astype(float))
