"""What a shadow and the champion said of the same rows, counted by whose answer the label agrees with."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from components.shared.documents.document import Task
from components.shared.inference_log import compaction, labeled
from components.shared.release.outcomes import PairedOutcomes
from components.shared.sql import literal


def count(
    log: Path,
    labels: Path,
    *,
    model: str,
    task: Task,
    champion: str,
    candidate: str,
    since: datetime,
    delay: timedelta,
) -> PairedOutcomes:
    """Count the pairs whose label is due: of classes, whose decision is right; of a regression, whose score is nearer.

    A row is due when it is older than the delay of its label, whatever is known of it before; see ``log_window``. An
    entity counts once, with its first row: rows of one person, and requests that are sent again, are no independent
    evidence.

    Args:
        log: Folder of the inference log; complete segments are compacted first.
        labels: Folder of the label store.
        model: The model's name.
        task: Says how answers are compared with labels.
        champion: The version that answered.
        candidate: The version that was its shadow.
        since: Requests from then on.
        delay: After an event, so long until its label is known.
    """
    compaction.compact(log)
    files = compaction.files(log)
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(config=_settings(scratch)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        labeled.log_view(connection, files, model)
        labeled.join_labels(connection, labels, max(delay, labeled.CLOCK_TOLERANCE))
        now = labeled.clock(connection)
        listed = ", ".join(literal(str(path)) for path in files)
        if now is None or not listed or not _has_shadows(connection, listed):
            return PairedOutcomes()
        champion_right, shadow_right = (_is_right(name) for name in ("champion", "shadow"))
        nearer = "abs(shadow.score - label::DOUBLE) < abs(champion.score - label::DOUBLE)"
        farther = "abs(shadow.score - label::DOUBLE) > abs(champion.score - label::DOUBLE)"
        wins, losses = (
            (nearer, farther)
            if task == "regression"
            else (f"{shadow_right} AND NOT {champion_right}", f"{champion_right} AND NOT {shadow_right}")
        )
        query = f"""
            WITH pairs AS (
            SELECT champion.label AS label, {wins} AS won, {losses} AS lost
            FROM labeled champion
            JOIN (
                SELECT request_id, "row", decision, score
                FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)
                WHERE shadow AND model = {literal(model)} AND release = {literal(candidate)}
            ) shadow USING (request_id, "row")
            WHERE champion.release = {literal(champion)} AND champion."at" >= {_time(since)}
              AND champion.event_time <= {_time(now - delay)}
            QUALIFY row_number() OVER (
                PARTITION BY coalesce(champion.entity, champion.request_id || ' ' || champion."row")
                ORDER BY champion."at", champion.request_id, champion."row"
            ) = 1
            )
            SELECT count(*), count(label), count(*) FILTER (WHERE label IS NOT NULL AND won),
                   count(*) FILTER (WHERE label IS NOT NULL AND lost)
            FROM pairs
        """
        row: Any = connection.execute(query).fetchone()
    due, labels_due, won, lost = map(int, row)
    return PairedOutcomes(due=due, wins=won, ties=labels_due - won - lost, losses=lost)


def _settings(scratch: str) -> dict[str, str | bool | int | float | list[str]]:
    return {"memory_limit": "1500MB", "temp_directory": scratch}


def _has_shadows(connection: duckdb.DuckDBPyConnection, listed: str) -> bool:
    query = f"DESCRIBE SELECT * FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = false)"
    return "shadow" in {row[0] for row in connection.execute(query).fetchall()}


def _is_right(name: str) -> str:
    """Return the condition that a version's decision is the label; a version that decides nothing is never right."""
    return f"coalesce({name}.decision = label, false)"


def _time(moment: datetime) -> str:
    return f"{literal(moment.isoformat())}::TIMESTAMPTZ"
