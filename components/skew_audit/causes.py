"""Name the likely cause of what differs, where a pattern points to one.

Up to ``UNEQUAL`` rows that differ in a feature are looked at, stale ones included. Each cause explains some of them:

- late row: the logged value is the offline value if rows count from their own time on, although they became known
  only after the request; or the row has the values of one such row of the view (see ``other_rows.py``).
- time to live: the logged value is the offline value without the time to live, which an online store ignores.
- null to 0: the log has 0 or false where the offline value is missing.
- unit: logged / offline is the same ratio, within a thousandth, for at least ``VALUES`` different offline values.
- null to constant: the same for another value, which ``SHARE`` of the rows without an offline value have.
- time zone: the logged value is the offline value as of a time that is a whole number of hours earlier or later.
- staleness: the row has the values of an earlier row of the view (see ``other_rows.py``).
- unknown: none of these.

Counting rows from their own time on, and an offset of the clock, predict a value for every row, so they can be wrong:
``SHARE`` of the rows for which one predicts another value than the offline path must be logged as predicted. A random
sample of ``EQUAL`` rows shows the others. A time zone, a unit and a constant need ``VALUES`` rows.

The cause that explains most rows is named first, then the one that explains most of the others, down to ``LEAST`` of
the feature's rows. Of equal ones, the one that was wrong least often is named; what one other row of the view explains
comes last.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from components.shared.documents.monitoring import LoggedRow
from components.shared.documents.skew import SkewCause, SkewCauseName
from components.shared.project import Project
from components.shared.wording import number
from components.skew_audit import hypotheses
from components.skew_audit.hypotheses import LATE_ROW, TIME_TO_LIVE
from components.skew_audit.offline import OfflinePath
from components.skew_audit.other_rows import lag_column, late_column
from components.skew_audit.pairs import ComparedFeature

UNEQUAL, EQUAL = 2_000, 20_000
VALUES = 5
SHARE, LEAST = 0.9, 0.05
_RATIO_TOLERANCE = 1e-3
_EXAMPLES = 3
_BY_ROW = 1


class FeatureCauses(NamedTuple):
    """What explains the differences of a feature, and some rows that differ."""

    causes: tuple[SkewCause, ...]
    examples: tuple[LoggedRow, ...]


class _Candidate(NamedTuple):
    """A cause that may be named, and the rows that it explains."""

    name: SkewCauseName
    rows: frozenset[int]
    detail: str = ""
    wrong: float = 0.0
    """Rows for which it predicts another value than was logged."""
    order: int = 0
    """Of candidates that explain equally many rows, the one with the lowest number is named."""


def name(
    connection: duckdb.DuckDBPyConnection,
    offline: OfflinePath,
    project: Project,
    features: Sequence[ComparedFeature],
    scratch: Path,
) -> dict[str, FeatureCauses]:
    """Return feature to its causes, for the features that differ in some row.

    Args:
        connection: A connection with ``classified`` and ``other``.
        offline: The offline path, which is asked again about the sample.
        project: Says the type of each feature.
        features: What is compared.
        scratch: A folder for files.
    """
    _sample(connection, features)
    hypotheses.predict(connection, offline, project, features, scratch)
    rows, equal = connection.execute(
        "SELECT (SELECT count(*) FROM classified), count(*) FILTER (WHERE is_random) FROM sampled"
    ).fetchall()[0]
    named = {}
    for feature in features:
        looked_at = _looked_at(connection, feature)
        if looked_at:
            [total] = connection.execute(f"SELECT count(*) FROM classified WHERE mark{feature.number} > 0").fetchall()[
                0
            ]
            scale = total / len(looked_at)
            candidates = list(_candidates(connection, feature, rows / equal / scale))
            causes = _chosen(candidates, frozenset(looked_at), scale)
            named[feature.name] = FeatureCauses(causes, _examples(connection, feature))
    return named


def _sample(connection: duckdb.DuckDBPyConnection, features: Sequence[ComparedFeature]) -> None:
    """Make the table ``sampled``: the first rows, in the order of a hash, that differ in each feature, and of all."""
    chosen = "".join(
        f" UNION (SELECT n FROM classified WHERE mark{feature.number} > 0 ORDER BY hash(n), n LIMIT {UNEQUAL})"
        for feature in features
    )
    connection.execute(f"""
        CREATE OR REPLACE TABLE sampled AS
        WITH random AS (SELECT n FROM classified ORDER BY hash(n), n LIMIT {EQUAL})
        SELECT classified.*, other.* EXCLUDE (n), n IN (SELECT n FROM random) AS is_random
        FROM classified LEFT JOIN other USING (n) WHERE n IN (SELECT n FROM random{chosen})
    """)


def _looked_at(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature) -> list[int]:
    """Make the table ``differing`` of the rows of a feature that are looked at; return their numbers."""
    connection.execute(f"""
        CREATE OR REPLACE TABLE differing AS
        SELECT n, request_id, "row", mark{feature.number} AS mark, {feature.logged} AS logged,
               {feature.offline} AS offline, {lag_column(feature.view)} AS lag,
               {late_column(feature.view)} AS is_late
        FROM sampled WHERE mark{feature.number} > 0 ORDER BY hash(n), n LIMIT {UNEQUAL}
    """)
    return [row[0] for row in connection.execute("SELECT n FROM differing").fetchall()]


def _candidates(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, weight: float) -> Iterator[_Candidate]:
    """Yield every cause that may explain something; ``weight`` is that of a random row against one looked at."""
    yield from _predicted(connection, feature, weight)
    yield from _constants(connection, feature)
    if feature.type == "numeric":
        yield from _unit(connection)
    yield _Candidate("late row", _numbers(connection, "is_late"), order=_BY_ROW)
    yield _Candidate("staleness", _numbers(connection, "lag IS NOT NULL"), order=_BY_ROW)


def _predicted(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, weight: float) -> Iterator[_Candidate]:
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
            yield _Candidate("time to live", frozenset(rows))
        elif len(rows) >= SHARE * (len(rows) + errors) and len(rows) >= (VALUES if is_offset else 1):
            name: SkewCauseName = "time zone" if is_offset else "late row"
            yield _Candidate(name, frozenset(rows), f"{hypothesis:+d} h" if is_offset else "", errors)


def _constants(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature) -> Iterator[_Candidate]:
    values = connection.execute(
        "SELECT logged, list(n) FROM differing WHERE offline IS NULL GROUP BY logged ORDER BY count(*) DESC, logged"
    ).fetchall()
    without = sum(len(rows) for _, rows in values)
    for value, rows in values:
        if feature.type != "categorical" and value == 0:
            yield _Candidate("null to 0", frozenset(rows))
        elif len(rows) >= max(VALUES, SHARE * without):
            yield _Candidate("null to constant", frozenset(rows), value if isinstance(value, str) else number(value))


def _unit(connection: duckdb.DuckDBPyConnection) -> Iterator[_Candidate]:
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
        yield _Candidate("unit", _numbers(connection, near), f"x {row[0]:.4g}")


def _numbers(connection: duckdb.DuckDBPyConnection, condition: str) -> frozenset[int]:
    return frozenset(row[0] for row in connection.execute(f"SELECT n FROM differing WHERE {condition}").fetchall())


def _chosen(candidates: Sequence[_Candidate], rows: frozenset[int], scale: float) -> tuple[SkewCause, ...]:
    """Choose the cause that explains most rows, then of what is left, until none explains enough."""
    explained: dict[tuple[SkewCauseName, str], int] = {}
    left = rows
    while left:
        best = max(candidates, key=lambda one: (len(one.rows & left), -one.order, -one.wrong, -_hours(one)))
        theirs = best.rows & left
        if len(theirs) < max(1, LEAST * len(rows)):
            break
        explained[best.name, best.detail] = explained.get((best.name, best.detail), 0) + len(theirs)
        left -= theirs
    if left:
        explained["unknown", ""] = len(left)
    return tuple(
        SkewCause(name=name, rows=round(count * scale), detail=detail) for (name, detail), count in explained.items()
    )


def _hours(candidate: _Candidate) -> int:
    return abs(int(candidate.detail.removesuffix(" h"))) if candidate.name == "time zone" else 0


def _examples(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature) -> tuple[LoggedRow, ...]:
    rows = connection.execute(
        f'SELECT request_id, "row" FROM differing ORDER BY lag IS NOT NULL, n LIMIT {_EXAMPLES}'
    ).fetchall()
    return tuple(LoggedRow(request_id=request_id, row=row) for request_id, row in rows)
