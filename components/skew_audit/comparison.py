"""Compare pairs of logged and offline values, feature by feature, in DuckDB.

A row that was compared is exactly one of these for a feature: the same; different (two values that are not the same);
missing (only the offline path has a value); extra (only the log has one). Each of the last three is a mismatch, unless
the row is stale (see ``other_rows.py``).
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from components.shared.documents.skew import DifferenceQuantiles
from components.shared.sql import literal
from components.skew_audit.other_rows import STALE_AFTER_US, lag_column
from components.skew_audit.pairs import ComparedFeature

SAME, DIFFERENT, MISSING, EXTRA = range(4)
_QUANTILES = "[0.0, 0.05, 0.5, 0.95, 1.0]"


class FeatureCounts(NamedTuple):
    """The rows of one feature by what they are; see ``FeatureSkew``."""

    rows: int
    different: int
    missing: int
    extra: int
    stale: int
    stale_longest_h: float | None
    smape: float | None
    difference: DifferenceQuantiles | None

    @property
    def unequal(self) -> int:
        """Return the number of rows that differ, stale or not."""
        return self.different + self.missing + self.extra + self.stale


def classify(connection: duckdb.DuckDBPyConnection, pairs: Path, features: Iterable[ComparedFeature]) -> None:
    """Make the view ``classified``: the pairs, and ``mark<i>`` for each feature, null where it is not compared."""
    marks = []
    for feature in features:
        logged, offline = feature.logged, feature.offline
        skipped = ", ".join(literal(release) for release in feature.not_in)
        skip = f"WHEN release IN ({skipped}) THEN NULL" if skipped else ""
        marks.append(
            f"CASE {skip} WHEN {feature.same(logged, offline)} THEN {SAME} WHEN {logged} IS NULL THEN {MISSING}"
            f" WHEN {offline} IS NULL THEN {EXTRA} ELSE {DIFFERENT} END AS mark{feature.number}"
        )
    connection.execute(
        f"CREATE OR REPLACE VIEW classified AS SELECT *, {', '.join(marks)} FROM read_parquet({literal(str(pairs))})"
    )


def without_releases(
    connection: duckdb.DuckDBPyConnection, features: Sequence[ComparedFeature]
) -> tuple[ComparedFeature, ...]:
    """Leave out, for each feature, the older releases that never logged a value of it.

    They had other features. The newest release is that of the newest row; what it never logs is missing.
    """
    counts = ", ".join(f"count({feature.logged})" for feature in features)
    by_release = connection.execute(
        f"SELECT release, max(event_time) AS newest, {counts} FROM classified GROUP BY release ORDER BY newest DESC"
    ).fetchall()
    older = by_release[1:]
    return tuple(
        dataclasses.replace(feature, not_in=tuple(sorted(row[0] for row in older if row[2 + place] == 0)))
        for place, feature in enumerate(features)
    )


def count(connection: duckdb.DuckDBPyConnection, feature: ComparedFeature, *, trust_staleness: bool) -> FeatureCounts:
    """Count the rows of a feature.

    SMAPE is the mean of |l - o| / ((|l| + |o|) / 2) over the rows with a logged value l and an offline value o, where 0
    of 0 counts as 0 (Armstrong, Long-Range Forecasting, 1985, in the form of Makridakis, 1993: from 0 to 2). Like the
    distribution of l - o, it leaves out stale rows.

    Args:
        connection: A connection with ``classified`` and ``other``.
        feature: The feature.
        trust_staleness: Whether rows that look stale are; otherwise they are mismatches.
    """
    mark, logged, offline = f"mark{feature.number}", feature.logged, feature.offline
    lag = lag_column(feature.view)
    is_stale = f"coalesce({lag} <= {STALE_AFTER_US}, false)" if trust_staleness else "false"
    both = "NOT stale AND mark IS NOT NULL AND l IS NOT NULL AND o IS NOT NULL"
    # Both are divided by the larger one first, so that no sum overflows.
    small, large = "least(abs(l), abs(o))", "greatest(abs(l), abs(o))"
    signed = f"CASE WHEN sign(l) = sign(o) THEN 1 - {small} / {large} ELSE 1 + {small} / {large} END"
    error = f"CASE WHEN l = o THEN 0 ELSE 2 * ({signed}) / (1 + {small} / {large}) END"
    numbers = (
        f"avg({error}) FILTER (WHERE {both}), quantile_cont(l - o, {_QUANTILES}) FILTER (WHERE {both})"
        if feature.type == "numeric"
        else "NULL, NULL"
    )
    row = connection.execute(f"""
        SELECT count(mark), count(*) FILTER (WHERE mark = {DIFFERENT} AND NOT stale),
               count(*) FILTER (WHERE mark = {MISSING} AND NOT stale),
               count(*) FILTER (WHERE mark = {EXTRA} AND NOT stale),
               count(*) FILTER (WHERE mark > {SAME} AND stale), max(lag) FILTER (WHERE mark > {SAME} AND stale),
               {numbers}
        FROM (
            SELECT {mark} AS mark, {logged} AS l, {offline} AS o, {is_stale} AND {mark} > {SAME} AS stale, {lag} AS lag
            FROM classified LEFT JOIN other USING (n)
        )
    """).fetchall()[0]
    rows, different, missing, extra, stale, longest_us, smape, quantiles = row
    difference = None
    if quantiles is not None:
        difference = DifferenceQuantiles(**dict(zip(DifferenceQuantiles.model_fields, quantiles, strict=True)))
    longest_h = None if longest_us is None else longest_us / 3.6e9
    return FeatureCounts(rows, different, missing, extra, stale, longest_h, smape, difference)


def differs(connection: duckdb.DuckDBPyConnection, features: Iterable[ComparedFeature]) -> bool:
    """Return whether any row differs in any feature, stale or not."""
    marks = " OR ".join(f"mark{feature.number} > {SAME}" for feature in features)
    row = connection.execute(f"SELECT EXISTS (SELECT 1 FROM classified WHERE {marks})").fetchone()
    return bool(row and row[0])
