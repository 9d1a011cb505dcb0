"""Pictures of what was measured: metrics, curves, slices, perturbations, value."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

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
    numbers,
    whisker,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_SLICES = 14
_MOST_COLUMNS = 20


def comparisons(evaluation: Mapping[str, Any]) -> Markup:
    """Draw the differences to the champion and the baselines, with their intervals around zero."""
    rows = [(name, c) for name in SERIES if (c := (evaluation.get("comparisons") or {}).get(name))]

    def paint(axes: "Axes") -> None:
        axes.axvline(0, color=INK, linewidth=1)
        for y, (name, compared) in enumerate(reversed(rows)):
            colour, marker, _ = SERIES[name]
            whisker(axes, y, compared["difference"], compared["low"], compared["high"], colour, marker)
        axes.set_yticks(range(len(rows)), [f"against the {SERIES[name][2]}" for name, _ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        better = "right" if evaluation.get("higher_is_better", True) else "left"
        axes.set_xlabel(f"difference in {rows[0][1]['metric']} (better: {better})")

    title = "Differences to the champion and the baselines"
    return draw(title, 6.6, 0.8 + 0.42 * len(rows), paint) if rows else NOTHING


def metrics(evaluation: Mapping[str, Any]) -> Markup:
    """Draw the metrics that lie between 0 and 1 with their intervals, and the others' values beside them."""
    baselines = {name: values for name, values in (evaluation.get("baselines") or {}).items() if values}
    rows = [
        (name, metric)
        for name, metric in evaluation.get("metrics", {}).items()
        if metric.get("higher_is_better", True) is not None
        and numbers(metric.get("low"), metric.get("high"))
        and metric["low"] >= 0
        and metric["high"] <= 1
    ]

    def paint(axes: "Axes") -> None:
        for y, (name, metric) in enumerate(reversed(rows)):
            whisker(axes, y, metric["value"], metric["low"], metric["high"], MODEL, "o")
            for other, (colour, marker, _) in SERIES.items():
                value = baselines.get(other, {}).get(name)
                if numbers(value):
                    axes.plot(value, y, marker, color=colour, markersize=5, markerfacecolor="none", zorder=3)
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


def roc(evaluation: Mapping[str, Any]) -> Markup:
    """Draw the receiver operating characteristic, and where the threshold lies on it."""
    curve = evaluation.get("roc") or {}
    threshold: Any = evaluation.get("threshold")

    def paint(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color="#aeb7c2", linestyle="--", linewidth=1)
        axes.plot(curve["fpr"], curve["tpr"], color=MODEL, linewidth=2)
        if numbers(threshold):
            above = [i for i, cut in enumerate(curve["thresholds"]) if numbers(cut) and cut >= threshold]
            if above:
                at = above[-1]
                axes.plot(curve["fpr"][at], curve["tpr"][at], "o", color=BAD, markersize=7)
                axes.annotate(
                    f"threshold {number(threshold)}", (curve["fpr"][at], curve["tpr"][at]), (8, -12),
                    textcoords="offset points", fontsize=8.5,
                )  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="false positive rate", ylabel="true positive rate")

    return draw("ROC curve", 3.7, 3.4, paint) if curve.get("fpr") else NOTHING


def calibration(evaluation: Mapping[str, Any]) -> Markup:
    """Draw the share of positives against the score; dots grow with the rows behind them."""
    bins = (evaluation.get("calibration") or {}).get("bins") or []

    def paint(axes: "Axes") -> None:
        most = max(bucket["rows"] for bucket in bins)
        axes.plot([0, 1], [0, 1], color="#aeb7c2", linestyle="--", linewidth=1)
        x, y = [bucket["mean_score"] for bucket in bins], [bucket["share_positive"] for bucket in bins]
        axes.plot(x, y, color=MODEL, linewidth=1.2)
        axes.scatter(x, y, s=[14 + 50 * bucket["rows"] / most for bucket in bins], color=MODEL, zorder=3)
        limits = (-0.02, min(1.02, 1.15 * max(*x, *y)))
        axes.set(xlim=limits, ylim=limits, xlabel="mean score", ylabel="share of positives")

    return draw("Calibration", 3.7, 3.4, paint) if bins else NOTHING


def slices(evaluation: Mapping[str, Any]) -> Markup:
    """Draw the worst slices with their intervals against the value of all rows."""
    rows = worst_first(evaluation)[:_MOST_SLICES]
    overall = (evaluation.get("metrics") or {}).get(evaluation.get("primary"), {}).get("value")

    def paint(axes: "Axes") -> None:
        if numbers(overall):
            axes.axvline(overall, color=INK, linewidth=1)
        for y, part in enumerate(reversed(rows)):
            whisker(axes, y, part["metric"], part["low"], part["high"], MODEL, "o")
        axes.set_yticks(range(len(rows)), [label(where(part["where"])) for part in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"{evaluation.get('primary')} (line: all rows)")

    return draw("Slices, the worst first", 6.6, 0.8 + 0.29 * len(rows), paint) if rows else NOTHING


def worst_first(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sort the slices, the one with the largest loss first."""
    sign = 1 if evaluation.get("higher_is_better", True) else -1
    return sorted(evaluation.get("slices") or [], key=lambda part: sign * part["difference"])


def drops(evaluation: Mapping[str, Any], shuffled: bool) -> Markup:
    """Draw what each perturbation costs: the shuffled columns, or all the others."""
    tests = [t for t in evaluation.get("robustness") or [] if (t["perturbation"] == "shuffled column") == shuffled]
    names = {id(t): str(t["level"]) if shuffled else f"{t['perturbation']} {t['level']}" for t in tests}
    tests = sorted(tests, key=lambda test: test["drop"])[-_MOST_COLUMNS:] if shuffled else tests[::-1]

    def paint(axes: "Axes") -> None:
        axes.barh(range(len(tests)), [t["drop"] for t in tests], color=MODEL if shuffled else PLAIN, height=0.62)
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(tests)), [label(names[id(t)]) for t in tests])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(f"loss of {evaluation.get('primary')}")

    title = "Loss when a column is shuffled" if shuffled else "Loss under noise and missing values"
    return draw(title, 6.6, 0.8 + 0.29 * len(tests), paint) if tests else NOTHING


def value(evaluation: Mapping[str, Any]) -> Markup:
    """Draw what acting on the model earns over the threshold, and the threshold that was chosen."""
    worth = evaluation.get("value") or {}
    curve = [p for p in worth.get("curve") or [] if numbers(p["threshold"], p["value"])]

    def paint(axes: "Axes") -> None:
        axes.plot([p["threshold"] for p in curve], [p["value"] for p in curve], color=MODEL, linewidth=2)
        axes.axhline(0, color=INK, linewidth=1)
        if numbers(worth.get("champion_total")):
            axes.axhline(worth["champion_total"], color=CHAMPION, linestyle="--", linewidth=1.2, label="champion")
        threshold: Any = evaluation.get("threshold")
        if numbers(threshold):
            axes.plot(threshold, worth["total"], "o", color=BAD, markersize=7, label=f"threshold {number(threshold)}")
        axes.legend(fontsize=8.5)
        axes.yaxis.set_major_formatter(lambda amount, _: f"{amount:,.0f}")
        axes.set(xlabel="threshold", ylabel=f"{worth.get('currency', '')} on the test rows")

    return draw("Value over the threshold", 6.6, 2.9, paint) if len(curve) > 1 else NOTHING
