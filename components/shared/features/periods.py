"""Compute a feature view period by period: its SQL runs once for each, so that no query sees more than one period."""

import re
from datetime import datetime

import duckdb

from components.shared.errors import InputError
from components.shared.features import parsed
from components.shared.features.snapshot import TIMES

_MOST = 10_000
"""A query for each takes minutes; more periods come from a wrong time."""


def check(query: str, period: str | None, file: str) -> None:
    """Check that SQL takes the bounds of a period if the view has one, and only then.

    Raises:
        InputError: If it takes bounds without a period, or lacks one of them.
    """
    bounds = set(re.findall(r"\$(start|end)\b", query))
    if bounds and period is None:
        raise InputError(
            f"{file} takes the bounds of a period, but the view has no tag 'period'; expected an interval such as "
            "'1 month'. Add tags={'period': ...} to the view in features.py."
        )
    missing = sorted({"start", "end"} - bounds)
    if period is not None and missing:
        raise InputError(
            f"{file} does not use {' and '.join(f'${name}' for name in missing)}, although the view has the period "
            f"{period!r}; expected both bounds. Restrict the rows to those from $start on and before $end, or remove "
            "the tag 'period' of the view in features.py."
        )


def compute(connection: duckdb.DuckDBPyConnection, query: str, period: str, file: str) -> None:
    """Create the temporary table ``_by_period`` with the rows of every complete period, in their order.

    Periods touch each other, and are aligned as DuckDB's ``time_bucket`` aligns them: days at midnight, weeks on
    Mondays, months on the first (UTC). The first one holds the first time of the tables that the SQL reads. The last
    one ends at or before the newest of their times: what a period that has not ended adds up to is not known yet.

    Args:
        connection: A connection with a view per source and the table ``TIMES``, see ``snapshot.connect``.
        query: SQL with the parameters ``$start`` (in the period) and ``$end`` (the first moment after it).
        period: An interval of DuckDB, such as "1 month".
        file: Where the SQL is from, for messages.

    Raises:
        InputError: If the period is no positive interval, there are too many, or no table that is read has a time.
        duckdb.Error: If the SQL fails.
    """
    bounds = _bounds(connection, query, period, file)
    # The first period gives the columns their types, also where it has no rows or has not ended.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _by_period AS SELECT * FROM ({query}\n) LIMIT 0",
        dict(zip(("start", "end"), bounds[0], strict=True)),
    )
    newest = _ends(connection, query, file)[1]
    for start, end in bounds:
        if end <= newest:
            connection.execute(f"INSERT INTO _by_period BY NAME {query}", {"start": start, "end": end})


def _ends(connection: duckdb.DuckDBPyConnection, query: str, file: str) -> tuple[datetime, datetime]:
    """Return the oldest and the newest time in the tables that are read."""
    oldest, newest = connection.execute(
        f"SELECT min(oldest), max(newest) FROM {TIMES} WHERE name IN (SELECT unnest(?))",
        [sorted(parsed.tables(connection, query))],
    ).fetchall()[0]
    if oldest is None:
        raise InputError(
            f"{file} runs by period, but no table that it reads has a time; expected a source with the key 'time'. "
            "Name the column in the project file."
        )
    return oldest, newest


def _bounds(
    connection: duckdb.DuckDBPyConnection, query: str, period: str, file: str
) -> list[tuple[datetime, datetime]]:
    """Return start and end of each period that begins at or before the newest time."""
    oldest, newest = _ends(connection, query, file)
    try:
        (positive,) = connection.execute("SELECT ?::INTERVAL > INTERVAL 0 SECONDS", [period]).fetchall()[0]
    except duckdb.Error:
        positive = False
    if not positive:
        raise InputError(
            f"the period of {file} is {period!r}; expected an interval such as '1 day' or '1 month'. Correct the tag "
            "'period' of the view in features.py."
        )
    bounds = connection.execute(
        "SELECT unnest(range(time_bucket($period::INTERVAL, $oldest), $newest::TIMESTAMP + INTERVAL 1 MICROSECOND,"
        " $period::INTERVAL)) AS start, start + $period::INTERVAL",
        {"period": period, "oldest": oldest, "newest": newest},
    ).fetchall()
    if len(bounds) > _MOST:
        raise InputError(
            f"{file} would run {len(bounds):,} times, once per {period!r} from {oldest} to {newest}; expected at most "
            f"{_MOST:,}. Correct times that are far from the others, or choose a longer period."
        )
    return bounds
