"""Three methods to assign each row to a part; the result does not depend on the order of the rows."""

from collections import defaultdict
from datetime import timedelta
from typing import Any, NamedTuple

import duckdb

from components.shared.errors import InputError

GAPS = "gaps"
"""What ``counts`` calls the rows that are in no part."""


class PartCounts(NamedTuple):
    """The rows and the different labels of a part, and one of these."""

    rows: int = 0
    classes: int = 0
    label: Any = None


def assign(
    connection: duckdb.DuckDBPyConnection,
    method: str,
    validation: float,
    test: float,
    gap: timedelta,
    seed: int,
    task: str,
) -> None:
    """Create the table ``parts`` (row, label, part) for the table ``keys`` (row, entity, event_time, label).

    ``part`` is null for rows in a gap. The methods:

    - ``time``: the oldest rows are the training rows, then follow the validation rows and the test rows. Before each
      cut, rows whose label became known only after the cut are left out.
    - ``hash``: all rows of an entity are in the same part, which never changes when rows are added.
    - ``random``: the shares are exact and equal for each class.

    Raises:
        InputError: If the method is 'time' and all rows have the same time.
    """
    if method == "time":
        query = _by_time(connection, validation, test, gap)
    else:
        key = "entity::VARCHAR" if method == "hash" else f"concat_ws('|', {seed}, entity, event_time)"
        # 52 bits of MD5 as a number in [0, 1): the same on every machine, which DuckDB's own hash is not.
        number = f"('0x' || md5({key})[:13])::UBIGINT / 4503599627370496.0"
        classes = "" if task == "regression" else "PARTITION BY label"
        share = "number" if method == "hash" else f"cume_dist() OVER ({classes} ORDER BY number)"
        query = (
            f"SELECT row, label, CASE WHEN share <= {test} THEN 'test' WHEN share <= {test + validation}"
            f" THEN 'validation' ELSE 'train' END AS part FROM (SELECT row, label, {share} AS share FROM"
            f" (SELECT row, label, {number} AS number FROM keys))"
        )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE parts AS {query}")


def counts(connection: duckdb.DuckDBPyConnection) -> defaultdict[str, PartCounts]:
    """Count the rows and labels of each part of the table ``parts``; a part that it lacks has none."""
    counted = connection.execute(
        f"SELECT coalesce(part, '{GAPS}'), count(*), count(DISTINCT label), any_value(label) FROM parts GROUP BY part"
    ).fetchall()
    return defaultdict(PartCounts, {part: PartCounts(*figures) for part, *figures in counted})


def _by_time(connection: duckdb.DuckDBPyConnection, validation: float, test: float, gap: timedelta) -> str:
    first, last, validation_start, test_start = connection.execute(
        f"SELECT min(event_time), max(event_time), quantile_disc(event_time, {1 - test - validation}),"
        f" quantile_disc(event_time, {1 - test}) FROM keys"
    ).fetchall()[0]
    if first == last:
        raise InputError(
            f"all rows have the event time {first} and cannot be split by time; expected different times. "
            "Set split.method to hash or random, or choose another event_time."
        )
    train_end, validation_end = validation_start - gap, test_start - gap
    return (
        f"SELECT row, label, CASE WHEN event_time >= '{test_start}'::TIMESTAMP THEN 'test'"
        f" WHEN event_time >= '{validation_start}'::TIMESTAMP"
        f" AND event_time < '{validation_end}'::TIMESTAMP THEN 'validation'"
        f" WHEN event_time < '{train_end}'::TIMESTAMP"
        f" AND event_time < '{validation_start}'::TIMESTAMP THEN 'train'"
        " END AS part FROM keys"
    )
