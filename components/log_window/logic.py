"""Take the logged rows of a window, and join the labels that have become known since.

A row belongs to the time of its event (``event_time``), which is the time of the request unless the request says
otherwise. The clock is the newest event time or label in the log, not this machine's, so that a replayed log gives the
same result. A row is due when it is older than the delay of its label: only due rows are measured, because labels of
one kind may become known earlier than those of another (a customer who leaves is known at once, one who stays is not).
"""

import logging
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from components.shared.documents.monitoring import LatencyDay, LogWindow
from components.shared.inference_log import compaction, labeled, remote
from components.shared.inference_log.columns import RECEIVED
from components.shared.inference_log.span import Span
from components.shared.project import Monitoring, Project
from components.shared.sql import identifier, literal

_log = logging.getLogger(__name__)

__all__ = ["EARLIER", "HISTORY", "ROWS", "ROWS_MAX", "Span", "fetch", "take"]

ROWS, HISTORY, EARLIER = "rows.parquet", "history.parquet", "earlier.parquet"
ROWS_MAX = 1_000_000
"""More rows of a window than this are sampled: no comparison becomes better by them."""
_MEMORY = "1500MB"
"""Most memory of the queries; what does not fit goes to a file for the time being."""
_NO_TIME = "NULL::TIMESTAMPTZ"
_NOT_NEEDED = "known_at, protocol, entity, latency_us"
"""Columns of the log that no step after this needs."""
_YEAR = timedelta(weeks=52)
"""As many weeks as a year has, so that weekdays stay where they are."""


def fetch(project: Project, log: str, labels: str, span: Span, target: Path) -> LogWindow:
    """Take the window from where log and labels are: folders, or buckets, which are copied first.

    Raises:
        StepFailed: If a bucket does not answer.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log_here = remote.fetch(log, Path(scratch) / "log")
        labels_here = remote.fetch(labels, Path(scratch) / "labels")
        return take(project, log_here, labels_here, span, target)


def take(project: Project, log: Path, labels: Path, span: Span, target: Path) -> LogWindow:
    """Write ``rows.parquet``, ``history.parquet`` and ``window.json``.

    ``rows.parquet`` has the rows of the window, a sample of about ``ROWS_MAX`` if there are more: request_id, row, at,
    event_time, release, score, scores, decision, action, propensity, label, and ``received.<feature>`` for every
    feature, but not the entity, which nothing after this needs.
    ``history.parquet`` has the due rows of the release that answers, up to the end of the window, labeled or not:
    request_id, row, event_time, score, scores, decision, action, propensity, label, and ``received.<feature>`` for
    every feature that the evaluation slices or groups by. ``earlier.parquet`` has the columns of the window's rows, of
    the window with which the project compares instead of test rows, if it does.

    Args:
        project: Its name is the model's; its label has the delay.
        log: Folder of the inference log; complete segments are compacted first.
        labels: Folder of the label store.
        span: The window; without a start, it is ``monitoring.window_days`` long.
        target: Folder for the files.
    """
    compacted = compaction.compact(log)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        settings: dict[str, str | bool | int | float | list[str]]
        settings = {"temp_directory": scratch, "memory_limit": _MEMORY}
        with duckdb.connect(config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            future = labeled.log_view(connection, compaction.files(log), project.name)
            joined = labeled.join_labels(
                connection, labels, max(timedelta(days=project.label.delay_days), labeled.CLOCK_TOLERANCE)
            )
            now = labeled.clock(connection)
            end = min(filter(None, (span.end, now)), default=None)
            start = span.start or (end and end - timedelta(days=project.monitoring.window_days))
            due_until = now and now - timedelta(days=project.label.delay_days)
            release = _release(connection, end)
            until_end = f"event_time <= {_time(end)}"
            inside = f"event_time > {_time(start)} AND {until_end}"
            due = f"release = {literal(release or '')} AND {until_end} AND event_time <= {_time(due_until)}"
            counts = _counts(connection, inside, due, due_until)
            since = labeled.first_answer(connection, release)
            new_labels = labeled.number(
                connection, f"SELECT count(*) FROM labeled WHERE label IS NOT NULL AND known_at > {_time(since)}"
            )
            latency = tuple(_latency(connection, release, end, project.monitoring.slo.latency_ms))
            sampled, columns = _sampled(counts["rows"]), _history_columns(project, connection)
            shown = f"* EXCLUDE ({_NOT_NEEDED})"
            _copy(connection, f"SELECT {shown} FROM labeled WHERE {inside} AND {sampled}", target / ROWS)
            _copy(connection, f"SELECT {columns} FROM labeled WHERE {due}", target / HISTORY)
            _write_earlier(connection, project.monitoring, start, end, target)
            releases = connection.execute(
                f"SELECT release, count(*) FROM logged WHERE {inside} GROUP BY release ORDER BY release"
            ).fetchall()
    window = LogWindow(
        model=project.name,
        task=project.task,
        start=start and start.isoformat(),
        end=end and end.isoformat(),
        releases=dict(releases),
        release=release,
        answering_since=since and since.isoformat(),
        new_labels=new_labels,
        delay_days=project.label.delay_days,
        due_until=due_until and due_until.isoformat(),
        from_the_future=future,
        labels=joined,
        damaged=compacted.damaged,
        latency=latency,
        **counts,
    )
    window.write(target)
    _log.info(
        "%d rows of %d requests, %d of %d due rows labeled",
        window.rows,
        window.requests,
        window.due_labeled,
        window.due,
    )
    return window


def _write_earlier(
    connection: duckdb.DuckDBPyConnection,
    monitoring: Monitoring,
    start: datetime | None,
    end: datetime | None,
    target: Path,
) -> None:
    """Write the rows of an earlier window, if the project compares with one."""
    if monitoring.reference == "test rows" or start is None or end is None:
        return
    back = _YEAR if monitoring.reference == "same season" else end - start
    inside = f"event_time > {_time(start - back)} AND event_time <= {_time(end - back)}"
    rows = labeled.number(connection, f"SELECT count(*) FROM logged WHERE {inside}")
    shown = f"SELECT * EXCLUDE ({_NOT_NEEDED}) FROM labeled WHERE {inside} AND {_sampled(rows)}"
    _copy(connection, shown, target / EARLIER)


def _counts(connection: duckdb.DuckDBPyConnection, inside: str, due: str, due_until: datetime | None) -> dict[str, int]:
    """Count in one pass over the log. Every request has one row with the number 0."""
    conditions = {
        "rows": inside,
        "requests": f'{inside} AND "row" = 0',
        "due": due,
        "due_labeled": f"{due} AND label IS NOT NULL",
        "young_labeled": f"event_time > {_time(due_until)} AND label IS NOT NULL",
    }
    columns = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions.values())
    counted: Any = connection.execute(f"SELECT {columns} FROM labeled").fetchone()
    return dict(zip(conditions, map(int, counted), strict=True))


def _latency(
    connection: duckdb.DuckDBPyConnection, release: str | None, end: datetime | None, limit_ms: float
) -> Iterator[LatencyDay]:
    """Yield for each day, by the server's clock, how many requests a release answered, and how many too slowly."""
    counted = connection.execute(f"""
        SELECT strftime("at", '%Y-%m-%d') AS day, count(*), count(*) FILTER (latency_us > {1000 * limit_ms})
        FROM logged
        WHERE release = {literal(release or "")} AND "row" = 0 AND event_time <= {_time(end)} AND latency_us IS NOT NULL
        GROUP BY day ORDER BY day
    """).fetchall()
    return (LatencyDay(day=day, requests=requests, slow=slow) for day, requests, slow in counted)


def _sampled(rows: int) -> str:
    """Return a condition that keeps about ``ROWS_MAX`` rows, the same ones every time."""
    if rows <= ROWS_MAX:
        return "true"
    return f'hash(request_id, "row") < {int(2**64 * ROWS_MAX / rows)}::UBIGINT'


def _history_columns(project: Project, connection: duckdb.DuckDBPyConnection) -> str:
    """Name the columns of the history, with the logged features that the evaluation slices or groups by."""
    names = {RECEIVED + name for part in project.evaluation.parts for name in part}
    logged = [row[0] for row in connection.execute("DESCRIBE labeled").fetchall()]
    plain = ("request_id", "row", "event_time", "score", "scores", "decision", "action", "propensity", "label")
    return ", ".join(identifier(name) for name in (*plain, *(name for name in logged if name in names)))


def _release(connection: duckdb.DuckDBPyConnection, end: datetime | None) -> str | None:
    newest = f"(SELECT max(event_time) FROM logged WHERE event_time <= {_time(end)})"
    found = connection.execute(
        f'SELECT release FROM logged WHERE event_time = {newest} ORDER BY "at" DESC LIMIT 1'
    ).fetchone()
    return str(found[0]) if found else None


def _copy(connection: duckdb.DuckDBPyConnection, query: str, target: Path) -> None:
    connection.execute(f"COPY ({query}) TO {literal(str(target))} (FORMAT parquet, COMPRESSION zstd)")


def _time(moment: datetime | None) -> str:
    return _NO_TIME if moment is None else f"{literal(moment.isoformat())}::TIMESTAMPTZ"
