"""Pictures of what monitoring measured."""

from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared.documents.monitoring import PerformanceReport
from pipelines.runs.report.drawing import BAD, MODEL, NOTHING, RULE, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST = 2


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
