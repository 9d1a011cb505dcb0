"""Pictures of what was measured: metrics, curves, slices, perturbations, value."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.measurements import Metric
from components.shared.wording import number, where
from pipelines.runs.report.drawing import (
    BAD,
    CHAMPION,
    INK,
    MODEL,
    NOTHING,
    PLAIN,
    SERIES,
    draw,
    label,
    mark_threshold,
    whisker,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SLICES = 14
_MOST_COLUMNS = 20
_SHUFFLED = "shuffled column"


def comparisons(evaluation: EvaluationReport) -> Markup:
    """Draw the differences to the champion and the baselines, with their intervals around zero."""
    present = evaluation.comparisons.present
    rows = [(name, present[name]) for name in SERIES if name in present]

    def paint(axes: "Axes") -> None:
        axes.axvline(0, color=INK, linewidth=1)
        for y, (name, compared) in enumerate(reversed(rows)):
            colour, marker, _ = SERIES[name]
            whisker(axes, y, compared.difference, compared.low, compared.high, colour, marker)
        axes.set_yticks(range(len(rows)), [f"against the {SERIES[name][2]}" for name, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        better = "right" if evaluation.higher_is_better else "left"
        axes.set_xlabel(f"difference in {rows[0][1].metric} (better: {better})")

    title = "Differences to the champion and the baselines"
    return draw(title, 6.6, 0.8 + 0.42 * len(rows), paint) if rows else NOTHING


def metrics(evaluation: EvaluationReport) -> Markup:
    """Draw the metrics that have a direction and are between 0 and 1, with their intervals and the others' values."""
    baselines = evaluation.baselines.present
    rows = drawn_metrics(evaluation)

    def paint(axes: "Axes") -> None:
        for y, (name, metric) in enumerate(reversed(rows)):
            whisker(axes, y, metric.value, metric.low, metric.high, MODEL, "o")
            for other, (colour, marker, _) in SERIES.items():
                other_value = baselines.get(other, {}).get(name)
                if other_value is not None:
                    axes.plot(other_value, y, marker, color=colour, markersize=5, markerfacecolor="none", zorder=3)
        axes.set_yticks(range(len(rows)), [label(name) for name, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.plot([], [], "o", color=MODEL, label="this model, with its interval")
        for other in baselines:
            if other in SERIES:
                colour, marker, text = SERIES[other]
                axes.plot([], [], marker, color=colour, markerfacecolor="none", markersize=5, label=text)
        axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4, fontsize=8.5, handletextpad=0.2)

    return draw("Metrics with intervals", 6.6, 1.1 + 0.3 * len(rows), paint) if len(rows) > 1 else NOTHING


def drawn_metrics(evaluation: EvaluationReport) -> list[tuple[str, Metric]]:
    """Return the metrics that share one axis: a direction, a defined interval, and bounds between 0 and 1."""
    return [
        (name, metric)
        for name, metric in evaluation.metrics.items()
        if evaluation.directions.get(name) is not None
        and metric.low is not None
        and metric.high is not None
        and metric.low >= 0
        and metric.high <= 1
    ]


def roc(evaluation: EvaluationReport) -> Markup:
    """Draw the receiver operating characteristic, and where the threshold is on it."""
    curve, threshold = evaluation.roc, evaluation.threshold
    if curve is None or not curve.fpr:
        return NOTHING

    def paint(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color="#aeb7c2", linestyle="--", linewidth=1)
        axes.plot(curve.fpr, curve.tpr, color=MODEL, linewidth=2)
        mark_threshold(axes, curve.fpr, curve.tpr, curve.thresholds, threshold)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="false positive rate", ylabel="true positive rate")

    return draw("ROC curve", 3.7, 3.4, paint)


def calibration(evaluation: EvaluationReport) -> Markup:
    """Draw the share of positives against the score; dots grow with the rows behind them."""
    bins = evaluation.calibration.bins if evaluation.calibration else ()

    def paint(axes: "Axes") -> None:
        most = max(bucket.rows for bucket in bins)
        axes.plot([0, 1], [0, 1], color="#aeb7c2", linestyle="--", linewidth=1)
        x, y = [bucket.mean_score for bucket in bins], [bucket.share_positive for bucket in bins]
        axes.plot(x, y, color=MODEL, linewidth=1.2)
        axes.scatter(x, y, s=[14 + 50 * bucket.rows / most for bucket in bins], color=MODEL, zorder=3)
        limits = (-0.02, min(1.02, 1.15 * max(*x, *y)))
        axes.set(xlim=limits, ylim=limits, xlabel="mean score", ylabel="share of positives")

    return draw("Calibration", 3.7, 3.4, paint) if bins else NOTHING


def slices(evaluation: EvaluationReport) -> Markup:
    """Draw the worst slices with their intervals against the value of all rows."""
    rows = evaluation.worst_first[:_MOST_SLICES]
    overall = evaluation.primary_metric.value

    def paint(axes: "Axes") -> None:
        if overall is not None:
            axes.axvline(overall, color=INK, linewidth=1)
        for y, part in enumerate(reversed(rows)):
            whisker(axes, y, part.metric, part.low, part.high, MODEL, "o")
        axes.set_yticks(range(len(rows)), [label(where(part.where)) for part in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{evaluation.primary} (line: all rows)")

    return draw("Slices, the worst first", 6.6, 0.8 + 0.29 * len(rows), paint) if rows else NOTHING


def shuffled_columns(evaluation: EvaluationReport) -> Markup:
    """Draw what shuffling each column costs, the largest loss at the top."""
    tests = [(str(test.level), test.drop or 0.0) for test in evaluation.robustness if test.perturbation == _SHUFFLED]
    worst = sorted(tests, key=lambda test: test[1])[-_MOST_COLUMNS:]
    return _losses("Loss when a column is shuffled", worst, MODEL, evaluation.primary)


def disturbances(evaluation: EvaluationReport) -> Markup:
    """Draw what noise, missing values and unseen categories cost."""
    tests = [test for test in evaluation.robustness if test.perturbation != _SHUFFLED]
    losses = [(f"{test.perturbation} {test.level}", test.drop or 0.0) for test in reversed(tests)]
    return _losses("Loss under noise and missing values", losses, PLAIN, evaluation.primary)


def _losses(title: str, losses: list[tuple[str, float]], colour: str, primary: str) -> Markup:
    def paint(axes: "Axes") -> None:
        axes.barh(range(len(losses)), [loss for _, loss in losses], color=colour, height=0.62)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(losses)), [label(name) for name, _ in losses])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"loss of {primary}")

    return draw(title, 6.6, 0.8 + 0.29 * len(losses), paint) if losses else NOTHING


def value(evaluation: EvaluationReport) -> Markup:
    """Draw what acting on the model gains over acting on nobody, by threshold, and the threshold that was chosen."""
    report, threshold = evaluation.value, evaluation.threshold
    if report is None or len(report.curve) < 2:
        return NOTHING

    def paint(axes: "Axes") -> None:
        points = report.curve
        axes.plot([point.threshold for point in points], [point.value for point in points], color=MODEL, linewidth=2)
        axes.axhline(0, color=INK, linewidth=1)
        if report.champion_total is not None:
            axes.axhline(report.champion_total, color=CHAMPION, linestyle="--", linewidth=1.2, label="champion")
        if threshold is not None:
            axes.plot(threshold, report.total, "o", color=BAD, markersize=7, label=f"threshold {number(threshold)}")
        axes.legend(fontsize=8.5)
        axes.yaxis.set_major_formatter(lambda amount, _: f"{amount:,.0f}")
        axes.set(xlabel="threshold", ylabel=f"{report.currency} above acting on nobody")

    return draw("Value over the threshold", 6.6, 2.9, paint)
