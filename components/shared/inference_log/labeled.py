"""The log as a table whose rows have the labels that have become known since, in DuckDB."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from components.shared import label_store
from components.shared.documents.monitoring import LabelJoin
from components.shared.inference import PROBE
from components.shared.inference_log.columns import RECEIVED
from components.shared.sql import identifier, literal

CLOCK_TOLERANCE = timedelta(days=1)
"""How far the event time of a request may be ahead of the server's clock."""


def log_view(connection: duckdb.DuckDBPyConnection, files: Iterable[Path], model: str) -> int:
    """Make the view ``logged`` of a model's rows; return how many are left out because they are from the future.

    A view, because a log may be larger than the memory: every query reads the columns that it needs.
    """
    listed = ", ".join(literal(str(path)) for path in files)
    source = f"read_parquet([{listed}], union_by_name = true, hive_partitioning = false)" if listed else _EMPTY
    names = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]
    # Logs of before requests could say their event time.
    event_time = 'coalesce(event_time, "at")' if "event_time" in names else '"at"'
    answered = "AND shadow IS NOT TRUE" if "shadow" in names else ""
    latency = "latency_us" if "latency_us" in names else "NULL::FLOAT AS latency_us"
    received = "".join(f", {identifier(name)}" for name in names if name.startswith(RECEIVED))
    connection.execute(f"""
        CREATE VIEW complete AS
        SELECT request_id, "row", "at", {event_time} AS event_time, protocol, entity, release, score, scores, decision,
               action, propensity, {latency} {received}
        FROM {source} WHERE model = {literal(model)} AND NOT starts_with(request_id, {literal(PROBE)}) {answered}
    """)
    is_future = f'event_time > "at" + {interval(CLOCK_TOLERANCE)}'
    connection.execute(f"CREATE VIEW logged AS SELECT * FROM complete WHERE NOT ({is_future})")
    return number(connection, f"SELECT count(*) FROM complete WHERE {is_future}")


_EMPTY = """(
    SELECT NULL::VARCHAR AS request_id, NULL::INTEGER AS "row", NULL::TIMESTAMPTZ AS "at", NULL::VARCHAR AS protocol,
           NULL::VARCHAR AS model, NULL::VARCHAR AS release, NULL::VARCHAR AS entity, NULL::FLOAT AS score,
           NULL::FLOAT[] AS scores, NULL::VARCHAR AS decision, NULL::VARCHAR AS action, NULL::DOUBLE AS propensity
    WHERE false
)"""


def join_labels(connection: duckdb.DuckDBPyConnection, labels: Path, reach: timedelta) -> LabelJoin:
    """Make the table ``labeled``: the logged rows with ``label`` and ``known_at``, null where no label is known.

    A label names its request, or an entity and the event time. One whose time is that of no row of the entity belongs
    to the entity's last row before it, if that is no longer ago than ``reach``; one without a time belongs to the
    entity's newest row.
    """
    connection.execute(f"CREATE TABLE known AS {label_store.query(labels)}")
    # Only rows of people who have a label are sorted or grouped.
    connection.execute("CREATE TABLE people AS SELECT DISTINCT entity FROM known WHERE entity IS NOT NULL")
    theirs = 'SELECT request_id, "row", "at", event_time, entity FROM logged SEMI JOIN people USING (entity)'
    connection.execute(f"CREATE TABLE theirs AS {theirs}")
    connection.execute(f"""
        CREATE TABLE joined AS
        SELECT l.request_id, l."row", k.label, k.known_at
        FROM logged l JOIN known k ON k.request_id = l.request_id AND (k."row" IS NULL OR k."row" = l."row")
        UNION ALL
        SELECT l.request_id, l."row", k.label, coalesce(k.known_at, k.event_time)
        FROM (SELECT * FROM known WHERE entity IS NOT NULL AND event_time IS NOT NULL) k
        ASOF JOIN theirs l ON k.entity = l.entity AND k.event_time >= l.event_time
        WHERE k.event_time - l.event_time <= {interval(reach)}
        UNION ALL
        SELECT l.request_id, l."row", k.label, k.known_at
        FROM (SELECT * FROM known WHERE entity IS NOT NULL AND event_time IS NULL) k
        JOIN (
            SELECT entity, last(request_id ORDER BY event_time, "at") AS request_id,
                   last("row" ORDER BY event_time, "at") AS "row"
            FROM theirs GROUP BY entity
        ) l ON k.entity = l.entity
    """)
    connection.execute("""
        CREATE TABLE chosen AS
        SELECT request_id, "row", last(label ORDER BY known_at NULLS FIRST) AS label, max(known_at) AS known_at
        FROM joined GROUP BY request_id, "row"
    """)
    connection.execute("""
        CREATE VIEW labeled AS
        SELECT logged.*, chosen.label, chosen.known_at
        FROM logged LEFT JOIN chosen ON logged.request_id = chosen.request_id AND logged."row" = chosen."row"
    """)
    early = """
        SELECT count(*) FROM known
        JOIN (SELECT entity, min(event_time) AS first FROM theirs GROUP BY entity) seen ON seen.entity = known.entity
        WHERE known.event_time < seen.first
    """
    return LabelJoin(
        known=number(connection, "SELECT count(*) FROM known"),
        joined=number(connection, "SELECT count(*) FROM joined"),
        revised=number(connection, "SELECT count(*) FROM known WHERE revised"),
        early=number(connection, early),
    )


def clock(connection: duckdb.DuckDBPyConnection) -> datetime | None:
    """Return the newest event time or label."""
    newest = "(SELECT max(event_time) FROM logged), (SELECT max(known_at) FROM chosen)"
    return _moment(connection, f"greatest({newest})")


def first_answer(connection: duckdb.DuckDBPyConnection, release: str | None) -> datetime | None:
    """Return when a release first answered, by event times; None if it answered nothing.

    A row that is scored long after its event says nothing about that, unless all are, as in a replay.
    """
    tolerance = interval(CLOCK_TOLERANCE)
    oldest = f'min(event_time) FILTER (WHERE event_time >= "at" - {tolerance}), min(event_time)'
    return _moment(connection, f"(SELECT coalesce({oldest}) FROM logged WHERE release = {literal(release or '')})")


def _moment(connection: duckdb.DuckDBPyConnection, expression: str) -> datetime | None:
    # A time with a zone would need pytz.
    row: Any = connection.execute(f"SELECT epoch_us({expression})").fetchone()
    return None if row[0] is None else datetime.fromtimestamp(0, UTC) + timedelta(microseconds=row[0])


def number(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Return the one number that a query gives."""
    row: Any = connection.execute(query).fetchone()
    return int(row[0])


def interval(span: timedelta) -> str:
    """Write a span of time in SQL."""
    return f"to_microseconds({span // timedelta(microseconds=1)})"
