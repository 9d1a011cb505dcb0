"""Everything that may explain why a feature differs, with the rows that it explains; ``causes.py`` has the rules."""

from collections.abc import Iterator
from typing import NamedTuple

import duckdb

from components.shared.documents.skew import SkewCauseName
from components.shared.wording import number
from components.skew_audit.hypotheses import LATE_ROW, TIME_TO_LIVE
from components.skew_audit.pairs import ComparedFeature

SHARE = 0.9
"""Share of the rows to which a cause applies that must be logged as it says."""
VALUES = 5
"""Fewest rows that show a time zone, a unit or a constant."""
_RATIO_TOLERANCE = 1e-3
_BY_ROW = 1


class Candidate(NamedTuple):
    """A cause that may be named, and the rows that it explains."""

    name: SkewCauseName
    rows: frozenset[int]
    detail: str = ""
    wrong: float = 0.0
    """Rows for which it predicts another value than was logged."""
    order: int = 0
    """Of candidates that explain equally many rows, the one with the lowest number is named."""


def candidates(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, weight: float) -> Iterator[Candidate]:
    """Yield every cause that may explain something.

    Args:
        connection: A connection with ``differing``, ``sampled`` and ``predicted``.
        feature: The feature that ``differing`` is about.
        weight: How many rows of ``differing`` a row of the random sample stands for.
    """
    yield from _predicted(connection, feature, weight)
    yield from _constants(connection, feature)
    if feature.type == "numeric":
        yield from _unit(connection)
    yield Candidate("late row", _numbers(connection, "is_late"), order=_BY_ROW)
    yield Candidate("staleness", _numbers(connection, "lag IS NOT NULL"), order=_BY_ROW)


def _predicted(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, weight: float) -> Iterator[Candidate]:
    value = f"predicted{feature.number}"
    explained = dict(
        connection.execute(
            f"SELECT hypothesis, list(n) FROM predicted JOIN differing USING (n)"
            f" WHERE {feature.same('logged', value)} GROUP BY hypothesis ORDER BY hypothesis DESC"
        ).fetchall()
    )
    wrong = dict(
        connection.execute(
            f"SELECT hypothesis, count(*) FROM predicted JOIN sampled USING (n) WHERE is_random"
            f" AND mark{feature.number} = 0 AND NOT {feature.same(value, feature.offline)} GROUP BY hypothesis"
        ).fetchall()
    )
    for hypothesis, rows in explained.items():
        errors = wrong.get(hypothesis, 0) * weight
        is_offset = hypothesis not in (LATE_ROW, TIME_TO_LIVE)
        if hypothesis == TIME_TO_LIVE:
            yield Candidate("time to live", frozenset(rows))
        elif len(rows) >= SHARE * (len(rows) + errors) and len(rows) >= (VALUES if is_offset else 1):
            name: SkewCauseName = "time zone" if is_offset else "late row"
            yield Candidate(name, frozenset(rows), f"{hypothesis:+d} h" if is_offset else "", errors)


def _constants(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature) -> Iterator[Candidate]:
    values = connection.execute(
        "SELECT logged, list(n) FROM differing WHERE offline IS NULL GROUP BY logged ORDER BY count(*) DESC, logged"
    ).fetchall()
    without = sum(len(rows) for _, rows in values)
    for value, rows in values:
        if feature.type != "categorical" and value == 0:
            yield Candidate("null to 0", frozenset(rows))
        elif len(rows) >= max(VALUES, SHARE * without):
            yield Candidate("null to constant", frozenset(rows), value if isinstance(value, str) else number(value))


def _unit(connection: duckdb.DuckDBPyConnection) -> Iterator[Candidate]:
    """Take the most frequent ratio, rounded to three digits, then the rows near the median of those."""
    ratio = "logged / offline"
    row = connection.execute(f"""
        SELECT median(ratio) FROM (SELECT {ratio} AS ratio FROM differing WHERE mark = 1 AND offline <> 0)
        WHERE isfinite(ratio) AND ratio <> 0
        GROUP BY round(ratio / pow(10, floor(log10(abs(ratio)))), 2), floor(log10(abs(ratio))), sign(ratio)
        ORDER BY count(*) DESC, 1 LIMIT 1
    """).fetchone()
    if row is None or abs(row[0] - 1) < 10 * _RATIO_TOLERANCE:
        return
    near = f"mark = 1 AND offline <> 0 AND abs({ratio} - {row[0]!r}) <= {_RATIO_TOLERANCE} * abs({row[0]!r})"
    [values] = connection.execute(f"SELECT count(DISTINCT offline) FROM differing WHERE {near}").fetchall()[0]
    if values >= VALUES:
        yield Candidate("unit", _numbers(connection, near), f"x {row[0]:.4g}")


def _numbers(connection: duckdb.DuckDBPyConnection, condition: str) -> frozenset[int]:
    return frozenset(row[0] for row in connection.execute(f"SELECT n FROM differing WHERE {condition}").fetchall())
