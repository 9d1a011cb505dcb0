"""Three ways to give each row a part; all of them answer the same for the same rows, whatever their order."""

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
    """Name the part of each row of the table ``keys`` (row, entity, event_time, label); null for rows in a gap.

    *time*: the newest rows judge, the ones before choose, the oldest train. Before each cut, rows whose label came
    to be known only after the cut are left out. *hash*: all rows of an entity share a part, for ever and whatever
    rows come later. *random*: shares are exact and equal for each class.

    Raises:
        InputError: If the method is 'time' and all rows have one time.
    """
    if method == "time":
        query = _by_time(connection, validation, test, gap)
    else:
        key = "entity::VARCHAR" if method == "hash" else f"concat_ws('|', {seed}, entity, event_time)"
        # 52 bits of MD5 as a number in [0, 1): the same on every machine, which DuckDB's own hash is not.
        number = f"('0x' || md5({key})[:13])::UBIGINT / 4503599627370496.0"
        classes = "" if task == "regression" else "PARTITION BY label"
        place = "number" if method == "hash" else f"cume_dist() OVER ({classes} ORDER BY number)"
        query = (
            f"SELECT row, CASE WHEN place <= {test} THEN 'test' WHEN place <= {test + validation} THEN 'validation'"
            f" ELSE 'train' END AS part FROM (SELECT row, {place} AS place FROM"
            f" (SELECT row, label, {number} AS number FROM keys))"
        )
    return connection.sql(f"SELECT part FROM ({query}) ORDER BY row").to_arrow_table()["part"].combine_chunks()


def _by_time(connection: duckdb.DuckDBPyConnection, validation: float, test: float, gap: timedelta) -> str:
    first, last, choose, judge = connection.execute(
        f"SELECT min(event_time), max(event_time), quantile_disc(event_time, {1 - test - validation}),"
        f" quantile_disc(event_time, {1 - test}) FROM keys"
    ).fetchall()[0]
    if first == last:
        raise InputError(
            f"All rows have the event time {first}, so they cannot be split by time; expected several times. "
            "Set split.method to hash or random, or name another event_time."
        )
    train_end, validation_end = choose - gap, judge - gap
    return (
        f"SELECT row, CASE WHEN event_time >= '{judge}'::TIMESTAMP THEN 'test'"
        f" WHEN event_time >= '{choose}'::TIMESTAMP AND event_time < '{validation_end}'::TIMESTAMP THEN 'validation'"
        f" WHEN event_time < '{train_end}'::TIMESTAMP AND event_time < '{choose}'::TIMESTAMP THEN 'train'"
        " END AS part FROM keys"
    )
