"""Three methods to assign each row to a part; the result does not depend on the order of the rows."""

from datetime import timedelta

import duckdb
import pyarrow as pa

from components.shared.errors import InputError


def assign(
    connection: duckdb.DuckDBPyConnection,
    method: str,
    validation: float,
    test: float,
    gap: timedelta,
    seed: int,
    task: str,
) -> pa.Array:
    """Return the part of each row of the table ``keys`` (row, entity, event_time, label); null for rows in a gap.

    The methods:

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
            f"SELECT row, CASE WHEN share <= {test} THEN 'test' WHEN share <= {test + validation} THEN 'validation'"
            f" ELSE 'train' END AS part FROM (SELECT row, {share} AS share FROM"
            f" (SELECT row, label, {number} AS number FROM keys))"
        )
    return connection.sql(f"SELECT part FROM ({query}) ORDER BY row").to_arrow_table()["part"].combine_chunks()


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
        f"SELECT row, CASE WHEN event_time >= '{test_start}'::TIMESTAMP THEN 'test'"
        f" WHEN event_time >= '{validation_start}'::TIMESTAMP"
        f" AND event_time < '{validation_end}'::TIMESTAMP THEN 'validation'"
        f" WHEN event_time < '{train_end}'::TIMESTAMP"
        f" AND event_time < '{validation_start}'::TIMESTAMP THEN 'train'"
        " END AS part FROM keys"
    )
