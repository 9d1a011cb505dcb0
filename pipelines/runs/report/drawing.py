"""How every picture of the report is drawn: matplotlib's SVG, put into the page, with text that stays text."""

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from markupsafe import Markup, escape

from components.shared.wording import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Item = TypeVar("Item")
# Distinguishable without colour, also on paper: each series has its own marker, too.
MODEL, CHAMPION, PLAIN, RULE, BAD = "#1f5fae", "#7a3fa0", "#c2570c", "#6b7280", "#b42318"
INK, _QUIET, _GRID = "#1d2530", "#55606e", "#e3e8ee"
SERIES = {
    "champion": (CHAMPION, "D", "champion"),
    "plain": (PLAIN, "s", "plain model"),
    "rule": (RULE, "^", "rule of thumb"),
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "perennial",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": "#aeb7c2",
    "axes.labelcolor": _QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "legend.frameon": False,
}
_LABEL_LENGTH = 34
NOTHING = Markup("")


def whisker(
    axes: "Axes", y: float, middle: float | None, low: float | None, high: float | None, colour: str, marker: str
) -> None:
    """Draw a value with its interval; what is undefined is left out."""
    if low is not None and high is not None:
        axes.plot([low, high], [y, y], color=colour, linewidth=2.2, alpha=0.55, solid_capstyle="round")
    if middle is not None:
        axes.plot(middle, y, marker, color=colour, markersize=6, zorder=4)


def mark_threshold(
    axes: "Axes", x: Sequence[float], y: Sequence[float], cuts: Sequence[float], threshold: float | None
) -> None:
    """Mark the point of a curve at which a model is used; ``cuts`` are the curve's thresholds, falling."""
    above = [] if threshold is None else [i for i, cut in enumerate(cuts) if cut >= threshold]
    if above:
        point = (x[above[-1]], y[above[-1]])
        axes.plot(*point, "o", color=BAD, markersize=7)
        axes.annotate(f"threshold {number(threshold)}", point, (8, -12), textcoords="offset points", fontsize=8.5)


def draw(title: str, width: float, height: float, paint: Callable[["Axes"], None]) -> Markup:
    """Return a figure with a caption; sizes in inches, a hundred pixels each."""
    return draw_many(title, width, height, 1, [(None, lambda axes, _: paint(axes))])


def draw_many(
    title: str, width: float, height: float, across: int, painted: Sequence[tuple[Item, Callable[["Axes", Item], None]]]
) -> Markup:
    """Return a figure of several small ones, each painted for its item; sizes in inches, a hundred pixels each."""
    # matplotlib takes half a second to import, and a failed run may need no picture.
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    stream = io.StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is measured wrong and still drawn right by the browser.
        warnings.simplefilter("ignore")
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasSVG(figure)
        down = -(-len(painted) // across)
        for position, (item, paint) in enumerate(painted, start=1):
            paint(figure.add_subplot(down, across, position), item)
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    # Below its least width a picture scrolls instead of becoming illegible.
    frame = '<figure style="max-width:{}px"><div style="min-width:{}px">{}</div><figcaption>{}</figcaption></figure>'
    return Markup(frame).format(round(width * 100), round(width * 68), Markup(_inline(stream.getvalue(), title)), title)


def _inline(document: str, title: str) -> str:
    """Keep the drawing of an SVG file: no prologue, no fixed size, no ids but those that are referred to."""
    svg = document[document.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    referred = set(re.findall(r"#([\w-]+)", svg))
    svg = re.sub(r'\s(?:xlink:)?id="([\w-]+)"', lambda m: m[0] if m[1] in referred else "", svg)
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        lambda m: (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{m[1]}" role="img" aria-label="{escape(title)}">'
        ),
        svg,
        count=1,
    ).strip()


def label(text: str) -> str:
    """Cut a name to what fits next to an axis."""
    return text if len(text) <= _LABEL_LENGTH else text[: _LABEL_LENGTH - 1] + "…"
