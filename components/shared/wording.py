"""Format numbers for people, identically in the model card and in the report of a run."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from components.shared.documents.document import Task
from components.shared.documents.measurements import Coverage, Metric

ABSENT = "–"


def number(value: Any) -> str:
    """Format a number with about three significant digits.

    >>> number(0.853412), number(36400), number(None), number(1.2e-07), number(-0.0)
    ('0.853', '36,400', '–', '1.2e-07', '0')
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ABSENT
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value + 0.0:,.0f}"
    if abs(value) >= 100:
        return f"{value:,.1f}"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.1e}"


def significant(value: float | None) -> str:
    """Format a number with four significant digits and no exponent for common sizes; nothing for None.

    >>> significant(0.853412), significant(12750.0), significant(-0.0), significant(None)
    ('0.8534', '12,750', '0', '')
    """
    if value is None:
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value + 0.0:.4g}"


def signed(value: Any) -> str:
    """Format a difference with its sign."""
    text = number(value)
    return f"+{text}" if isinstance(value, int | float) and value > 0 and text != ABSENT else text


def interval(metric: Metric) -> str:
    """Format a metric with its interval, if it has one.

    >>> interval(Metric(value=0.85, low=0.83, high=0.87))
    '0.850 (0.830 to 0.870)'
    """
    value = number(metric.value)
    return value if metric.low is None else f"{value} ({number(metric.low)} to {number(metric.high)})"


def money(value: Any, currency: str) -> str:
    """Format an amount of money; amounts of 100 and more have no decimals.

    >>> money(-36400, "USD"), money(3.2, "USD"), money(-0.001, "USD")
    ('-36,400 USD', '3.20 USD', '0.00 USD')
    """
    if not isinstance(value, int | float):
        return ABSENT
    return f"{value:,.0f} {currency}" if abs(value) >= 100 else f"{round(value, 2) + 0.0:,.2f} {currency}"


def worth(gain: float, currency: str) -> str:
    """Say what acting on a model gains or loses against acting on nobody.

    >>> worth(2243.0, "EUR"), worth(-36400, "USD")
    ('worth 2,243 EUR more than acting on nobody', 'worth 36,400 USD less than acting on nobody')
    """
    return f"worth {money(abs(gain), currency)} {'less' if gain < 0 else 'more'} than acting on nobody"


def share(value: Any) -> str:
    """Format a share as a percentage.

    >>> share(0.333), share(-0.0001)
    ('33.3 %', '0.0 %')
    """
    return f"{round(value * 100, 1) + 0.0:.1f} %" if isinstance(value, int | float) and math.isfinite(value) else ABSENT


def coverage(part: Coverage, task: Task, rows: int) -> str:
    """Say how many labels of the test rows the intervals or sets of a level held.

    >>> held = Metric(value=0.894, low=0.884, high=0.904)
    >>> part = Coverage(level=0.9, held=held, expected_low=0.88, mean_size=12.34, single=None, by_part={})
    >>> coverage(part, "regression", 3742)
    '90 % intervals held 89.4 % of 3,742 test rows (88.4 % to 90.4 %), 12.34 wide on average'
    """
    kind, unit = ("intervals", "wide") if task == "regression" else ("sets", "classes")
    chance = "; fewer than chance explains" if part.is_too_low else ""
    return (
        f"{part.level * 100:g} % {kind} held {share(part.held.value)} of {rows:,} test rows ({share(part.held.low)} to "
        f"{share(part.held.high)}), {significant(part.mean_size)} {unit} on average{chance}"
    )


def quoted(names: Iterable[str]) -> str:
    """List names in quotes.

    >>> quoted(["a"]), quoted(["a", "b", "c"])
    ("'a'", "'a', 'b' and 'c'")
    """
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} and {last}" if first else last


def where(conditions: Mapping[str, Any]) -> str:
    """Format the conditions of a slice.

    >>> where({"plan": "basic", "region": "n"})
    'plan = basic and region = n'
    """
    return " and ".join(f"{column} = {value}" for column, value in conditions.items()) or "all rows"


def split(method: str) -> str:
    """Say how rows are split.

    >>> split("time"), split("random")
    ('by time', 'at random')
    """
    return {"time": "by time", "hash": "by a hash of the entity", "random": "at random"}[method]


def duration(seconds: Any) -> str:
    """Format a duration in seconds.

    >>> duration(0.84), duration(75.2)
    ('0.8 s', '1 min 15 s')
    """
    if not isinstance(seconds, int | float):
        return ABSENT
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:02.0f} s"
