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

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from components.shared.documents.monitoring import LoggedRow
from components.shared.documents.skew import SkewCause, SkewCauseName
from components.shared.project import Project
from components.skew_audit import hypotheses
from components.skew_audit.candidates import Candidate, candidates
from components.skew_audit.offline import OfflinePath
from components.skew_audit.other_rows import lag_column, late_column
from components.skew_audit.pairs import ComparedFeature

UNEQUAL, EQUAL = 2_000, 20_000
LEAST = 0.05
_EXAMPLES = 3


class FeatureCauses(NamedTuple):
    """What explains the differences of a feature, and some rows that differ."""

    causes: tuple[SkewCause, ...]
    examples: tuple[LoggedRow, ...]


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
            possible = list(candidates(connection, feature, rows / equal / scale))
            causes = _chosen(possible, frozenset(looked_at), scale)
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


def _chosen(possible: Sequence[Candidate], rows: frozenset[int], scale: float) -> tuple[SkewCause, ...]:
    """Choose the cause that explains most rows, then of what is left, until none explains enough."""
    explained: dict[tuple[SkewCauseName, str], int] = {}
    left = rows
    while left:
        best = max(possible, key=lambda candidate: _rank(candidate, left))
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


def _rank(candidate: Candidate, left: frozenset[int]) -> tuple[float, ...]:
    """Return what is larger for a better cause; the offset of a time zone is as small as possible."""
    hours = abs(int(candidate.detail.removesuffix(" h"))) if candidate.name == "time zone" else 0
    return len(candidate.rows & left), -candidate.order, -candidate.wrong, -hours


def _examples(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature) -> tuple[LoggedRow, ...]:
    rows = connection.execute(
        f'SELECT request_id, "row" FROM differing ORDER BY lag IS NOT NULL, n LIMIT {_EXAMPLES}'
    ).fetchall()
    return tuple(LoggedRow(request_id=request_id, row=row) for request_id, row in rows)
