"""Compute a feature view period by period: its SQL runs once for each, so that no query sees more than one period."""

import re

import duckdb

from components.shared.errors import InputError
from components.shared.features.snapshot import TIMES


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
    Mondays, months on the first (UTC). The first one holds the first time of any table, the last one ends at or before
    the newest time of any table: what a period that has not ended adds up to is not known yet.

    Args:
        connection: A connection with a view per source and the table ``TIMES``, see ``snapshot.connect``.
        query: SQL with the parameters ``$start`` (in the period) and ``$end`` (the first moment after it).
        period: An interval of DuckDB, such as "1 month".
        file: Where the SQL is from, for messages.

    Raises:
        InputError: If the period is no positive interval, or no table has a time.
        duckdb.Error: If the SQL fails.
    """
    bounds = _bounds(connection, period, file)
    # The first period gives the columns their types, also where it has no rows or has not ended.
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE _by_period AS SELECT * FROM ({query}) LIMIT 0",
        dict(zip(("start", "end"), bounds[0], strict=True)),
    )
    (newest,) = connection.execute(f"SELECT newest FROM {TIMES}").fetchall()[0]
    for start, end in bounds:
        if end <= newest:
            connection.execute(f"INSERT INTO _by_period BY NAME {query}", {"start": start, "end": end})


def _bounds(connection: duckdb.DuckDBPyConnection, period: str, file: str) -> list[tuple[object, object]]:
    """Return start and end of each period that begins at or before the newest time."""
    oldest, newest = connection.execute(f"SELECT oldest, newest FROM {TIMES}").fetchall()[0]
    if oldest is None:
        raise InputError(
            f"{file} runs by period, but no table of the project has a time; expected a source with the key 'time'. "
            "Name the column in the project file."
        )
    try:
        (positive,) = connection.execute("SELECT ?::INTERVAL > INTERVAL 0 SECONDS", [period]).fetchall()[0]
    except duckdb.Error:
        positive = False
    if not positive:
        raise InputError(
            f"the period of {file} is {period!r}; expected an interval such as '1 day' or '1 month'. Correct the tag "
            "'period' of the view in features.py."
        )
    return connection.execute(
        "SELECT unnest(range(time_bucket($period::INTERVAL, $oldest), $newest::TIMESTAMP + INTERVAL 1 MICROSECOND,"
        " $period::INTERVAL)) AS start, start + $period::INTERVAL",
        {"period": period, "oldest": oldest, "newest": newest},
    ).fetchall()
