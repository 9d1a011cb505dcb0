"""The shapes behind the figures: rankings, scores by class, a regression's errors, and columns by part."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.documents.measurements import (
    ColumnDistribution,
    RankingCurve,
    RegressionFit,
    ScoreHistogram,
    SizeBin,
)
from components.shared.inputs.column_file import Columns
from components.shared.inputs.rows import texts
from components.shared.measures.metrics import Binary, Regression
from components.shared.measures.ranking import Floats

_POINTS = 100
_BINS = 20
_SIZES = 5
_SCATTER = 500
_CATEGORIES = 6
OTHERS = "(others)"
MISSING = "(missing)"


def ranking_curve(model: Binary) -> RankingCurve | None:
    """Return precision and recall at up to a hundred shares of rows acted on; None without a positive row.

    Rows with equal scores are acted on together.
    """
    order = np.argsort(-model.score, kind="stable")
    score, hits = model.score[order], np.cumsum(model.truth[order])
    if not len(hits) or not hits[-1]:
        return None
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    spread = np.linspace(0, len(score) - 1, _POINTS)
    ends = ends[np.unique(np.searchsorted(ends, spread))]
    acted = ends + 1
    return RankingCurve(
        acted=(acted / len(score)).tolist(),
        precision=(hits[ends] / acted).tolist(),
        recall=(hits[ends] / hits[-1]).tolist(),
        thresholds=score[ends].tolist(),
        positives=float(hits[-1] / len(score)),
    )


def score_histogram(model: Binary, classes: Sequence[str]) -> ScoreHistogram:
    """Count the rows of the two classes by score, in twenty bins between 0 and 1."""
    edges = np.linspace(0, 1, _BINS + 1)
    counts = {
        name: np.histogram(model.score[model.truth == is_positive], edges)[0].tolist()
        for name, is_positive in zip(classes, (False, True), strict=True)
    }
    return ScoreHistogram(edges=edges.tolist(), counts=counts)


def regression_fit(model: Regression, seed: int) -> RegressionFit:
    """Describe where a regression errs: predictions against labels, residuals, and errors by the size of the label.

    Args:
        model: Predictions and labels.
        seed: Draws the rows that are shown as points.
    """
    residual = model.score - model.truth
    sample = np.sort(np.random.default_rng(seed).permutation(len(residual))[:_SCATTER])
    # A few extreme errors would squeeze all others into one bin; the outermost bins hold them.
    low, high = np.quantile(residual, [0.005, 0.995])
    edges = np.linspace(low, high, _BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    counts = np.histogram(np.clip(residual, edges[0], edges[-1]), edges)[0]
    return RegressionFit(
        labels=model.truth[sample].tolist(),
        predictions=model.score[sample].tolist(),
        residual_edges=edges.tolist(),
        residual_counts=counts.tolist(),
        by_size=_by_size(model.truth, residual),
    )


def _by_size(truth: Floats, residual: Floats) -> tuple[SizeBin, ...]:
    """Measure the errors in five parts of the label's range with about equal numbers of rows."""
    cuts = np.unique(np.quantile(truth, np.linspace(0, 1, _SIZES + 1)[1:-1], method="inverted_cdf"))
    codes = np.searchsorted(cuts, truth, side="left")
    return tuple(
        SizeBin(
            low=float(truth[inside].min()),
            high=float(truth[inside].max()),
            rows=int(inside.sum()),
            mean_error=float(residual[inside].mean()),
            mae=float(np.abs(residual[inside]).mean()),
        )
        for inside in (codes == code for code in np.unique(codes))
    )


def column_distributions(
    parts: Mapping[str, Columns], numeric: Sequence[str], categorical: Sequence[str]
) -> tuple[ColumnDistribution, ...]:
    """Describe each column in every part, so that a difference between the parts shows.

    Args:
        parts: Part (train, validation, test) to its rows; the first part gives the bins.
        numeric: Numeric and boolean columns.
        categorical: Columns of categories.
    """
    first = next(iter(parts.values()))
    return (
        *((_categories if _is_boolean(first, name) else _numbers)(name, parts) for name in numeric),
        *(_categories(name, parts) for name in categorical),
    )


def _numbers(name: str, parts: Mapping[str, Columns]) -> ColumnDistribution:
    """Count numbers in bins of equal width between the 1 % and the 99 % quantile of the first part."""
    values = {part: _floats(table, name) for part, table in parts.items()}
    first = next(iter(values.values()))
    known = first[~np.isnan(first)]
    if not len(known):
        return _distribution(name, [MISSING], {part: np.array([len(each)]) for part, each in values.items()}, None)
    low, high = np.quantile(known, [0.01, 0.99])
    edges = np.linspace(low, high, _BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    counts = {}
    for part, each in values.items():
        present = np.clip(each[~np.isnan(each)], edges[0], edges[-1])
        counts[part] = np.append(np.histogram(present, edges)[0], len(each) - len(present))
    names = [f"{edge:.4g}" for edge in edges[:-1]] + [MISSING]
    return _distribution(name, names, counts, edges)


def _categories(name: str, parts: Mapping[str, Columns]) -> ColumnDistribution:
    """Count the most frequent categories of the first part."""
    values = {part: texts(table, name) for part, table in parts.items()}
    first = next(iter(values.values()))
    categories, frequency = np.unique(first[first != ""].astype(str), return_counts=True)
    frequent = categories[np.argsort(-frequency, kind="stable")[:_CATEGORIES]].tolist()
    counts = {}
    for part, each in values.items():
        of_each = [int((each == value).sum()) for value in frequent]
        missing = int((each == "").sum())
        counts[part] = np.array([*of_each, len(each) - sum(of_each) - missing, missing])
    return _distribution(name, [*frequent, OTHERS, MISSING], counts, None)


def _distribution(
    name: str, bins: Sequence[str], counts: Mapping[str, NDArray[np.int64]], edges: Floats | None
) -> ColumnDistribution:
    shares = {part: (each / max(1, each.sum())).round(6).tolist() for part, each in counts.items()}
    return ColumnDistribution(
        column=name, bins=tuple(bins), edges=None if edges is None else tuple(edges.tolist()), shares=shares
    )


def _is_boolean(table: Columns, name: str) -> bool:
    return bool(pa.types.is_boolean(table.column(name).type))


def _floats(table: Columns, name: str) -> Floats:
    column = table.column(name)
    if pa.types.is_null(column.type):
        return np.full(table.num_rows, np.nan)
    values: Floats = pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy(zero_copy_only=False)
    return values
