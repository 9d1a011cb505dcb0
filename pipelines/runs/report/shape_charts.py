"""Pictures of shapes: rankings, scores by class, a regression's errors, and features by part."""

import functools
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import ColumnDistribution
from pipelines.runs.report.drawing import (
    BAD,
    INK,
    MODEL,
    NOTHING,
    PLAIN,
    RULE,
    draw,
    draw_many,
    label,
    mark_threshold,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_COLUMNS = 24
_PARTS = {"train": (MODEL, "-"), "validation": (RULE, "--"), "test": (PLAIN, "-.")}
_LONGEST = 9


def precision_recall(evaluation: EvaluationReport) -> Markup:
    """Draw precision against recall, and where the threshold is."""
    curve, threshold = evaluation.ranking, evaluation.threshold
    if curve is None:
        return NOTHING

    def paint(axes: "Axes") -> None:
        axes.axhline(curve.positives, color="#aeb7c2", linestyle="--", linewidth=1)
        axes.plot(curve.recall, curve.precision, color=MODEL, linewidth=2)
        mark_threshold(axes, curve.recall, curve.precision, curve.thresholds, threshold)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="recall", ylabel="precision (dashed: everybody)")

    return draw("Precision and recall", 3.7, 3.4, paint)


def lift(evaluation: EvaluationReport) -> Markup:
    """Draw how many times more positives there are among the highest scores than among all rows."""
    curve = evaluation.ranking
    if curve is None or not curve.positives:
        return NOTHING

    def paint(axes: "Axes") -> None:
        axes.axhline(1, color="#aeb7c2", linestyle="--", linewidth=1)
        axes.plot(curve.acted, [precision / curve.positives for precision in curve.precision], color=MODEL, linewidth=2)
        axes.set(
            xlim=(-0.02, 1.02), ylim=(0, None), xlabel="share of rows acted on", ylabel="lift over acting at random"
        )

    return draw("Lift", 3.7, 3.4, paint)


def scores(evaluation: EvaluationReport) -> Markup:
    """Draw the scores of the rows of each class, as shares of the class."""
    histogram, threshold = evaluation.scores, evaluation.threshold
    if histogram is None:
        return NOTHING

    def paint(axes: "Axes") -> None:
        for (name, counts), colour in zip(histogram.counts.items(), (RULE, MODEL), strict=True):
            shares = [count / max(1, sum(counts)) for count in counts]
            axes.stairs(shares, histogram.edges, color=colour, fill=True, alpha=0.35, label=label(name))
            axes.stairs(shares, histogram.edges, color=colour, linewidth=1.4)
        if threshold is not None:
            axes.axvline(threshold, color=BAD, linewidth=1.2)
        axes.legend(fontsize=8.5, title="class", title_fontsize=8.5)
        axes.set(xlim=(-0.02, 1.02), xlabel="score (line: threshold)", ylabel="share of the class")

    return draw("Scores by class", 3.7, 3.4, paint)


def predicted_and_actual(evaluation: EvaluationReport) -> Markup:
    """Draw predictions against labels, for up to five hundred test rows."""
    fit = evaluation.fit
    if fit is None or not fit.labels:
        return NOTHING

    def paint(axes: "Axes") -> None:
        ends = [min(*fit.labels, *fit.predictions), max(*fit.labels, *fit.predictions)]
        axes.plot(ends, ends, color="#aeb7c2", linestyle="--", linewidth=1)
        axes.plot(fit.predictions, fit.labels, "o", color=MODEL, markersize=3, alpha=0.45, markeredgewidth=0)
        axes.set(xlabel="predicted", ylabel="actual")

    return draw("Predicted and actual", 3.7, 3.4, paint)


def residuals(evaluation: EvaluationReport) -> Markup:
    """Draw how many rows are wrong by how much."""
    fit = evaluation.fit
    if fit is None:
        return NOTHING

    def paint(axes: "Axes") -> None:
        axes.stairs(fit.residual_counts, fit.residual_edges, color=MODEL, fill=True, alpha=0.6)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set(xlabel="predicted minus actual", ylabel="rows")

    return draw("Residuals", 3.7, 3.4, paint)


def distributions(evaluation: EvaluationReport) -> Markup:
    """Draw each feature in the training, validation and test rows."""
    columns = evaluation.distributions[:_MOST_COLUMNS]
    across = 4
    total = len(evaluation.distributions)
    which = "Features" if total == len(columns) else f"The first {len(columns)} of {total} features"
    title = f"{which} in the training (solid line), validation (dashed) and test rows (dash-dotted)"
    height = 1.45 * math.ceil(len(columns) / across)
    painted = [(each, functools.partial(paint_distribution, parts=_PARTS)) for each in columns]
    return draw_many(title, 9.6, height, across, painted) if columns else NOTHING


def paint_distribution(axes: "Axes", column: ColumnDistribution, parts: Mapping[str, tuple[str, str]]) -> None:
    """Draw one feature: lines for numbers, bars in the order of the parts for categories.

    Args:
        axes: Where.
        column: The feature.
        parts: Part to the colour and the style of its lines.
    """
    axes.set_title(label(column.column), fontsize=8.5, pad=3)
    axes.tick_params(labelsize=7)
    axes.set_yticks([])
    axes.grid(visible=False)
    if column.edges is not None:
        for part, (colour, line) in parts.items():
            axes.stairs(column.shares[part][:-1], column.edges, color=colour, linestyle=line, linewidth=1.2)
        axes.locator_params(axis="x", nbins=3)
        return
    used = [i for i in range(len(column.bins)) if any(shares[i] for shares in column.shares.values())]
    middle = (len(parts) - 1) / 2
    for offset, (part, (colour, line)) in enumerate(parts.items()):
        shares = column.shares[part]
        places = [i + 0.27 * (offset - middle) for i in range(len(used))]
        axes.bar(places, [shares[i] for i in used], 0.25, color=colour, linestyle=line)
    short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in (column.bins[i] for i in used)]
    axes.set_xticks(range(len(short)), short, rotation=40, ha="right", fontsize=6.5)
