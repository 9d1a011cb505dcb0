"""Estimate what a window's labels will say before they are known, from the scores alone.

A calibrated score is the probability of its label, so the scores of a window say how many answers are to be expected
to be wrong (confidence-based performance estimation; Kivimäki et al., "Confidence-based estimators for predictive
performance in model monitoring", Journal of Artificial Intelligence Research 82, 2025). That holds while inputs keep
their meaning, whatever population they come from: the estimate follows a covariate shift and cannot see concept drift.
It also says nothing of rows unlike any on which the scores were calibrated.

The calibration is learned from the test rows, once for each bootstrap resample of them, and labels are drawn from each
one's probabilities. So an interval covers what is uncertain about the calibration, the chance in the labels, and how
far periods of the test rows, as long as the window, were from their own estimate.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import stats

from components.shared.documents.measurements import Metric
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import Estimate
from components.shared.inference_log.columns import RECEIVED
from components.shared.measures.labels import widen
from components.shared.measures.metrics import scorecard

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Calibration = Callable[[Floats], Floats]

ROWS_MIN = 50
"""With fewer rows than this, nothing is estimated."""
OUTSIDE_MAX = 0.1
"""Largest share of rows unlike any test row; with more, nothing is estimated."""
CONFIDENCE = 0.9
_CALIBRATIONS, _DRAWS = 20, 200
_PERIODS_MIN, _PERIODS_MAX, _DRAWS_OF_A_PERIOD = 3, 12, 20
_LOSS = "loss"
_ROWS_MAX = 20_000
_ISOTONIC_ROWS = 2_000
"""With fewer test rows than this, isotonic regression fits noise (Niculescu-Mizil and Caruana, 2005)."""
_EPSILON = 1e-6
_NAMES = {"binary": ("auc", "accuracy", "precision", "recall"), "multiclass": ("accuracy", "macro_f1")}


def estimate(
    facts: ModelFacts, reference: pa.Table, rows: pa.Table, *, tolerated: float, alpha: float, seed: int
) -> Estimate:
    """Estimate the share of wrong answers and the main metrics of rows without labels.

    Args:
        facts: The classes and threshold of a model with classes.
        reference: The test rows with their labels, as evaluation wrote them.
        rows: Rows of the window, with the same columns; labels are not read.
        tolerated: The share of wrong answers above which the loss counts as risen.
        alpha: Probability with which ``is_risen`` may be wrong if the expected share is the tolerated one, 0 to 1.
        seed: Of the draws.

    Returns:
        The estimate with its 90 % interval; with a reason instead where nothing can be known.
    """
    outside = outside_share(reference, rows)
    reason = _why_nothing(rows.num_rows, outside)
    if reason is not None:
        return Estimate(rows=rows.num_rows, outside=outside, reason=reason)
    rng = np.random.default_rng(seed)
    sampled = np.sort(rng.permutation(rows.num_rows)[:_ROWS_MAX])
    known, window = _Rows.of(reference, facts), _Rows.of(rows, facts).taken(sampled)
    drawn = _drawn(facts, known, window, rng, calibrations=_CALIBRATIONS, draws=_DRAWS)
    spread = _spread_of_periods(facts, known.taken(_in_time_order(reference)), len(window.score), rng)
    for name, values in drawn.items():
        values += rng.normal(0.0, spread.get(name, 0.0), len(values))
    wrong = drawn.pop(_LOSS)
    return Estimate(
        rows=rows.num_rows,
        outside=outside,
        loss=_interval(wrong),
        metrics={name: _interval(values) for name, values in drawn.items()},
        is_risen=bool(wrong.mean() - stats.norm.isf(alpha) * wrong.std(ddof=1) > tolerated),
    )


def outside_share(reference: pa.Table, rows: pa.Table) -> float:
    """Return the share of rows with a feature unlike any in the reference.

    That is a number outside its range, a category that never occurs in it, or no value where it always has one.
    """
    outside = np.zeros(rows.num_rows, dtype=bool)
    for name in reference.column_names:
        if not name.startswith(RECEIVED) or name not in rows.column_names:
            continue
        known, values = reference[name], rows[name]
        if known.null_count == 0:
            outside |= pc.is_null(values).to_numpy(zero_copy_only=False)
        if known.null_count == len(known):
            outside |= pc.is_valid(values).to_numpy(zero_copy_only=False)
        elif pa.types.is_floating(known.type):
            limits = pc.min_max(known)
            beyond = pc.or_(pc.less(values, limits["min"]), pc.greater(values, limits["max"]))
            outside |= beyond.fill_null(False).to_numpy(zero_copy_only=False)
        else:
            is_new = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, known.unique())))
            outside |= is_new.to_numpy(zero_copy_only=False)
    return float(outside.mean()) if len(outside) else 0.0


def _why_nothing(rows: int, outside: float) -> str | None:
    if rows < ROWS_MIN:
        return f"the window has {rows} rows of the release, and {ROWS_MIN} are needed"
    if outside > OUTSIDE_MAX:
        return (
            f"cannot know: {outside:.0%} of the rows have a value that no test row had, and what the model does with "
            "such rows was never measured"
        )
    return None


@dataclass(frozen=True)
class _Rows:
    """Rows of one table as numbers.

    Attributes:
        score: (rows,) probability of the positive class, or (rows, classes).
        answer: (rows,) class number of the decision.
        truth: (rows,) class number of the label; of a class unknown to the model, the number after the last.
    """

    score: Floats
    answer: Integers
    truth: Integers

    @classmethod
    def of(cls, table: pa.Table, facts: ModelFacts) -> "_Rows":
        """Read the columns ``score`` or ``scores``, ``decision`` and ``label``."""
        classes = pa.array(facts.classes, pa.string())
        if facts.task == "multiclass":
            score = np.array(table["scores"].to_pylist(), dtype=float)[:, : len(classes)]
        else:
            score = table["score"].cast(pa.float64()).to_numpy(zero_copy_only=False)
        answer, truth = (
            pc.index_in(table[name].cast(pa.string()), classes).fill_null(len(classes)).to_numpy(zero_copy_only=False)
            for name in ("decision", "label")
        )
        return cls(score, answer, truth)

    def taken(self, rows: NDArray[np.intp]) -> "_Rows":
        """Return some of the rows."""
        return _Rows(self.score[rows], self.answer[rows], self.truth[rows])


def _drawn(
    facts: ModelFacts, known: _Rows, rows: _Rows, rng: np.random.Generator, *, calibrations: int, draws: int
) -> dict[str, Floats]:
    """Draw the labels of rows again and again, and measure them: (draws,) for each metric, and the share of losses."""
    measured: dict[str, list[float]] = {}
    for _ in range(calibrations):
        probability = _calibrated(known.taken(rng.integers(len(known.truth), size=len(known.truth))), rows.score)
        for _ in range(draws // calibrations):
            for name, value in _measured(facts, rows, _labels(probability, rng)).items():
                measured.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in measured.items()}


def _measured(facts: ModelFacts, rows: _Rows, labels: Integers) -> dict[str, float]:
    score = widen(rows.score, max(rows.score.shape[1], labels.max() + 1)) if facts.task == "multiclass" else rows.score
    card = scorecard(facts.task, labels, score, facts.threshold)
    metrics = card.measure(np.ones((1, len(labels))))
    return {name: float(metrics[name][0]) for name in _NAMES[facts.task]} | {
        _LOSS: float((labels != rows.answer).mean())
    }


def _spread_of_periods(facts: ModelFacts, known: _Rows, length: int, rng: np.random.Generator) -> dict[str, float]:
    """Return by how much the truth of a period differs from its estimate, beyond chance, as a standard deviation.

    Periods are as long as the window, or a third of the test rows, whichever is shorter; shorter periods differ more.
    With too few test rows for three periods the spread is unknown, and none is given.
    """
    if len(known.truth) < _PERIODS_MIN * ROWS_MIN:
        return {}
    count = len(known.truth) // min(max(length, ROWS_MIN), len(known.truth) // _PERIODS_MIN)
    periods = np.array_split(np.arange(len(known.truth)), count)[-_PERIODS_MAX:]
    excess: dict[str, list[float]] = {}
    for period in periods:
        rows = known.taken(period)
        others = known.taken(np.setdiff1d(np.arange(len(known.truth)), period))
        expected = _drawn(facts, others, rows, rng, calibrations=1, draws=_DRAWS_OF_A_PERIOD)
        for name, value in _measured(facts, rows, rows.truth).items():
            difference = value - float(expected[name].mean())
            excess.setdefault(name, []).append(difference**2 - float(expected[name].var(ddof=1)))
    return {name: max(float(np.nanmean(variances)), 0.0) ** 0.5 for name, variances in excess.items()}


def _in_time_order(table: pa.Table) -> NDArray[np.intp]:
    return np.asarray(pc.sort_indices(table, [("event_time", "ascending")]).to_numpy(), dtype=np.intp)


def _calibrated(known: _Rows, score: Floats) -> Floats:
    """Return the probability of the positive class, or of each class, for every score."""
    if score.ndim == 1:
        return _fitted(known.truth == 1, known.score)(score)
    columns = [_fitted(known.truth == k, known.score[:, k])(score[:, k]) for k in range(score.shape[1])]
    stacked = np.clip(np.column_stack(columns), _EPSILON, None)
    normed: Floats = stacked / stacked.sum(axis=1, keepdims=True)
    return normed


def _fitted(hit: NDArray[np.bool_], score: Floats) -> Calibration:
    """Learn how scores become probabilities; a class that never or always occurs keeps its scores."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.linear_model import LogisticRegression

    if hit.all() or not hit.any():
        return lambda scores: scores
    if len(hit) >= _ISOTONIC_ROWS:
        steps = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(score, hit)
        return lambda scores: np.asarray(steps.predict(scores), dtype=float)
    curve = LogisticRegression(C=1e6).fit(_log_odds(score), hit)
    return lambda scores: np.asarray(curve.predict_proba(_log_odds(scores))[:, 1], dtype=float)


def _log_odds(score: Floats) -> Floats:
    sure = np.clip(score, _EPSILON, 1 - _EPSILON)
    column: Floats = np.log(sure / (1 - sure)).reshape(-1, 1)
    return column


def _labels(probability: Floats, rng: np.random.Generator) -> Integers:
    """Draw a class number for each row."""
    if probability.ndim == 1:
        return (rng.uniform(size=len(probability)) < probability).astype(np.intp)
    reached = probability.cumsum(axis=1) > rng.uniform(size=(len(probability), 1))
    return np.asarray(reached.argmax(axis=1), dtype=np.intp)


def _interval(values: Floats) -> Metric:
    """Return the mean of the draws and its interval; draws on which a metric is undefined are left out."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return Metric(value=None, low=None, high=None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Metric(value=float(defined.mean()), low=float(low), high=float(high))


def expected_losses(facts: ModelFacts, reference: pa.Table, rows: pa.Table) -> NDArray[np.float64]:
    """Return the probability that each answer of a model with two classes is wrong: (rows,).

    Args:
        facts: The classes of the model.
        reference: The test rows with their labels.
        rows: Columns score, decision and label, of which the label is not used.
    """
    known, scored = _Rows.of(reference, facts), _Rows.of(rows, facts)
    positive = _calibrated(known, scored.score)
    return np.where(scored.answer == 1, 1 - positive, positive)
