"""Take from the inference log the rows of a window that the offline path can be asked about."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from components.shared.errors import InputError
from components.shared.inference_log import compaction, labeled
from components.shared.inference_log.columns import RECEIVED
from components.shared.inference_log.span import Span
from components.shared.sql import identifier, literal

MEMORY = "1500MB"
"""Most memory of DuckDB's queries; what does not fit goes to files for the time being."""


@dataclass(frozen=True)
class LoggedRows:
    """The chosen rows, and the numbers of those that were left out.

    Attributes:
        path: Parquet file: n (0 to rows - 1, in the order of time), request_id, row, event_time (UTC, without zone),
            release, entity, and ``received.<feature>`` for each of ``features``.
        rows: Rows of the window, chosen or not.
        not_sampled: Rows that were left out because fewer were asked for.
        without_entity: Rows that do not say whom they describe.
        from_the_future: Rows whose event time is later than their request by more than a day; not among ``rows``.
        features: The features that the log has a column for.
        damaged: Why each damaged segment was set aside.
    """

    path: Path
    rows: int
    not_sampled: int
    without_entity: int
    from_the_future: int
    features: tuple[str, ...]
    damaged: tuple[str, ...]


def take(log: Path, model: str, span: Span, most_rows: int, scratch: Path) -> LoggedRows:
    """Write the rows of a window that have an entity, or a sample of them, the same one every time.

    Args:
        log: Folder of the inference log; complete segments are compacted first.
        model: The model's name.
        span: Of event times, which are those of the request where it did not say another.
        most_rows: About so many rows are chosen; 0 chooses all.
        scratch: A folder for the file.

    Raises:
        InputError: If the window has no row, or none with an entity.
    """
    compacted = compaction.compact(log)
    target = scratch / "logged.parquet"
    with duckdb.connect(config={"temp_directory": str(scratch / "spill"), "memory_limit": MEMORY}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        labeled.log_view(connection, compaction.files(log), model)
        inside = span.condition()
        future = labeled.number(connection, f"SELECT count(*) FROM complete WHERE {inside}") - (
            rows := labeled.number(connection, f"SELECT count(*) FROM logged WHERE {inside}")
        )
        theirs = labeled.number(connection, f"SELECT count(*) FROM logged WHERE {inside} AND {_NAMED}")
        _check(connection, model, rows, theirs, future)
        sampled = "true"
        if 0 < most_rows < theirs:
            sampled = f'hash(request_id, "row") < {int(2**64 * most_rows / theirs)}::UBIGINT'
        columns = [row[0] for row in connection.execute("DESCRIBE logged").fetchall()]
        received = [name for name in columns if name.startswith(RECEIVED)]
        connection.execute(f"""
            COPY (
                SELECT row_number() OVER (ORDER BY event_time, request_id, "row") - 1 AS n, request_id, "row",
                       event_time::TIMESTAMP AS event_time, release, entity
                       {"".join(f", {identifier(name)}" for name in received)}
                FROM logged WHERE {inside} AND {_NAMED} AND {sampled} ORDER BY n
            ) TO {literal(str(target))} (FORMAT parquet, ROW_GROUP_SIZE 122880)
        """)
        chosen = labeled.number(connection, f"SELECT count(*) FROM read_parquet({literal(str(target))})")
    return LoggedRows(
        path=target,
        rows=rows,
        not_sampled=theirs - chosen,
        without_entity=rows - theirs,
        from_the_future=future,
        features=tuple(name.removeprefix(RECEIVED) for name in received),
        damaged=compacted.damaged,
    )


_NAMED = "entity IS NOT NULL AND entity <> ''"


def _check(connection: duckdb.DuckDBPyConnection, model: str, rows: int, theirs: int, future: int) -> None:
    if not rows and future:
        raise InputError(
            f"all {future:,} logged rows of the window have an event time more than a day after their request; "
            "expected moments that have come. Correct the clock of the server or of whoever sends event times."
        )
    if not rows:
        newest = connection.execute("SELECT min(event_time)::VARCHAR, max(event_time)::VARCHAR FROM logged").fetchone()
        has = f"its event times are from {newest[0]} to {newest[1]}" if newest and newest[0] else "it has none at all"
        raise InputError(
            f"the log has no row of the model {model!r} in the window ({has}); expected answered requests. Choose "
            "another window with --start and --end, or send requests to the endpoint."
        )
    if not theirs:
        raise InputError(
            f"none of the {rows:,} logged rows of the window has an entity; expected requests that say whom they "
            "describe. Send 'entity' (and 'event_time') with a request, so that the offline path can be asked."
        )
