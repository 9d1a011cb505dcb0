"""Pictures of what monitoring measured."""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.monitoring import DriftReport, PerformanceReport
from components.shared.window_drift.report import REFERENCE, WINDOW
from pipelines.runs.report.drawing import BAD, CHAMPION, MODEL, NOTHING, PLAIN, RULE, draw, draw_many, label
from pipelines.runs.report.shape_charts import paint_distribution
from pipelines.runs.report.timeline import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST = 2
_ACROSS = 4
_LINES = 6
_PARTS = {REFERENCE: (RULE, "--"), WINDOW: (MODEL, "-")}
_COLOURS = (MODEL, PLAIN, CHAMPION, BAD, RULE, "#0f766e")
_MARKERS = "osD^vX"


def loss_by_day(performance: PerformanceReport) -> Markup:
    """Draw the share of losses by day, what is tolerated, and the days that raised an alarm."""
    periods = [period for period in performance.periods if period.labeled]
    days = [period.day for period in periods]
    shares = [period.losses / period.labeled for period in periods]

    def paint(axes: "Axes") -> None:
        axes.plot(days, shares, "o-", color=MODEL, markersize=4, linewidth=1.4, label="logged rows")
        for limit, name, style in (
            (performance.reference_rate, "test rows", "--"),
            (performance.tolerated, "tolerated", ":"),
        ):
            if limit is not None:
                axes.axhline(limit, color=RULE, linestyle=style, linewidth=1.2, label=name)
        alarms = [(period.day, share) for period, share in zip(periods, shares, strict=True) if period.alarm]
        if alarms:
            axes.plot(*zip(*alarms, strict=True), "X", color=BAD, markersize=9, label="alarm")
        step = max(1, len(days) // 8)
        axes.set_xticks(days[::step], days[::step], rotation=30, ha="right", fontsize=8)
        axes.set_ylabel("share of losses")
        axes.legend(fontsize=8.5)

    return draw("Loss by day", 6.6, 3.0, paint) if len(periods) >= _FEWEST else NOTHING


def distributions(drift: DriftReport) -> Markup:
    """Draw each feature in the test rows and in the window."""
    columns = drift.distributions
    title = "Features in the window (solid line) and in the test rows (dashed)"
    painted = [(each, functools.partial(paint_distribution, parts=_PARTS)) for each in columns]
    height = 1.45 * math.ceil(len(columns) / _ACROSS)
    return draw_many(title, 9.6, height, _ACROSS, painted) if columns else NOTHING


def drift_over_time(looks: Sequence[Look]) -> Markup:
    """Draw the distance of the features that differ most now, window by window."""
    if len(looks) < _FEWEST or not looks[-1].drift.columns:
        return NOTHING
    names = [column.column for column in looks[-1].drift.columns[:_LINES]]

    def paint(axes: "Axes") -> None:
        for name, colour, marker in zip(names, _COLOURS, _MARKERS, strict=False):
            effects = [
                next((column.effect for column in look.drift.columns if column.column == name), None) for look in looks
            ]
            known = [(look.day, effect) for look, effect in zip(looks, effects, strict=True) if effect is not None]
            axes.plot(
                *zip(*known, strict=True), marker=marker, color=colour, markersize=4, linewidth=1.3, label=label(name)
            )
        axes.set_ylabel("distance from the test rows")
        axes.tick_params(axis="x", rotation=30, labelsize=8)
        axes.legend(fontsize=8, ncols=2)

    return draw("Drift over time, by end of the window", 6.6, 3.2, paint)


def loss_over_time(looks: Sequence[Look]) -> Markup:
    """Draw the loss that was realized and the one that was to be expected, window by window."""
    if len(looks) < _FEWEST:
        return NOTHING
    realized = [(look.day, look.performance.rate) for look in looks if look.performance.rate is not None]
    expected = [
        (look.day, float(loss.value or 0), float(loss.low or 0), float(loss.high or 0))
        for look in looks
        if look.performance.estimate is not None and (loss := look.performance.estimate.loss) is not None
    ]
    tolerated = next((p.tolerated for look in reversed(looks) if (p := look.performance).tolerated is not None), None)
    if len(realized) + len(expected) < _FEWEST:
        return NOTHING

    def paint(axes: "Axes") -> None:
        if realized:
            axes.plot(*zip(*realized, strict=True), "o-", color=MODEL, markersize=4, label="labeled rows since release")
        if expected:
            days, values, lows, highs = (list(column) for column in zip(*expected, strict=True))
            axes.plot(days, values, "s--", color=PLAIN, markersize=4, label="expected")
            axes.fill_between(days, lows, highs, color=PLAIN, alpha=0.18, linewidth=0)
        if tolerated is not None:
            axes.axhline(tolerated, color=RULE, linestyle=":", linewidth=1.2, label="tolerated")
        axes.set_ylabel("share of losses")
        axes.tick_params(axis="x", rotation=30, labelsize=8)
        axes.legend(fontsize=8)

    return draw("Loss over time, realized and expected with its 90 % interval", 6.6, 3.0, paint)
