"""The picture of a replay: what the decisions earned, with and without the loop, and when what happened."""

from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from components.shared import files
from pipelines.replay.outcome import ReplayOutcome
from pipelines.runs.report.drawing import BAD, CHAMPION, MODEL, RULE, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAGE = Markup(
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>Replay {0}</title>'
    "<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1d2530}}"
    "figure{{margin:1.5rem 0;overflow-x:auto}}figcaption{{color:#55606e}}table{{border-collapse:collapse}}"
    "td,th{{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #e3e8ee}}</style>"
    "<h1>Replay: {0}</h1><p>{1}</p>{2}<table><tr><th>week until</th><th>rows</th><th>release</th><th>with the loop</th>"
    "<th>never retrained</th><th>oracle</th><th>monitoring says</th></tr>{3}</table></html>"
)
_ROW = Markup("<tr><td>{}</td><td>{}</td><td>{}</td><td>{:,.0f}</td><td>{:,.0f}</td><td>{:,.0f}</td><td>{}</td></tr>")


def write(outcome: ReplayOutcome, path: Path) -> None:
    """Write the page; a reader sees the old one or the new one, never half."""
    rows = Markup("").join(
        _ROW.format(
            week.end[:10],
            week.rows,
            ", ".join(week.versions),
            week.gain,
            week.never,
            week.oracle,
            " ".join(filter(None, (week.action, week.cause and f"({week.cause})"))),
        )
        for week in outcome.weeks
    )
    page = _PAGE.format(outcome.scenario, summary(outcome), _picture(outcome), rows)
    files.write_text(path, str(page))


def summary(outcome: ReplayOutcome) -> str:
    """Say in a few sentences when what happened, and what it was worth."""
    money = {name: f"{value:,.0f} {outcome.currency}" for name, value in outcome.totals._asdict().items()}
    parts = []
    if outcome.changed is None:
        parts.append("Nothing changed.")
    elif outcome.found is None:
        parts.append(f"The change began on {outcome.changed[:10]}; monitoring never advised to act.")
    else:
        days = (datetime.fromisoformat(outcome.found) - datetime.fromisoformat(outcome.changed)).days
        parts.append(f"The change began on {outcome.changed[:10]} and was found after {days} days.")
    released = ", ".join(f"{week.released} after the week until {week.end[:10]}" for week in outcome.releases)
    parts.append(f"New releases: {released}." if released else "No new release.")
    parts.append(
        f"Decisions were worth {money['gain']}, without the loop {money['never']}, with an oracle {money['oracle']}."
    )
    if outcome.changed is not None and outcome.recovered is not None:
        parts.append(f"The loop recovered {outcome.recovered:.0%} of what the oracle gains.")
    return " ".join(parts)


def _picture(outcome: ReplayOutcome) -> Markup:
    # matplotlib counts days since 1970.
    ends = [_days(week.end) for week in outcome.weeks]

    def paint(axes: "Axes") -> None:
        for name, label, colour, style in (
            ("oracle", "oracle", CHAMPION, "--"),
            ("gain", "with the loop", MODEL, "-"),
            ("never", "never retrained", RULE, ":"),
        ):
            total = list(accumulate(getattr(week, name) for week in outcome.weeks))
            axes.plot(ends, total, style, color=colour, linewidth=2, label=label)
        if outcome.changed is not None:
            axes.axvline(_days(outcome.changed), color=BAD, linewidth=1.2, label="the change")
        for week in outcome.releases:
            axes.axvline(_days(week.end), color=MODEL, linewidth=0.8, linestyle="--")
        axes.set_ylabel(f"gain so far, {outcome.currency}")
        axes.xaxis_date()
        axes.tick_params(axis="x", rotation=30)
        axes.legend(fontsize=9)

    return draw("What the decisions earned; dashed lines are new releases", 8.0, 3.6, paint)


def _days(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp() / 86_400
