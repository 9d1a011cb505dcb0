"""The outcomes of the entities that each of two versions answered."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from components.shared.documents.document import Task
from components.shared.inference_log import compaction, labeled
from components.shared.release.trial import Arm, Arms
from components.shared.sql import literal


def count(
    log: Path,
    store: Path,
    *,
    model: str,
    task: Task | None,
    champion: str,
    candidate: str,
    since: datetime,
    delay: timedelta,
    reach: timedelta,
) -> Arms:
    """Compare the versions by the mean outcome of each entity; one that both answered counts for neither.

    A request without an entity is its own. Rows count that are older than the delay of their outcome.

    Args:
        log: Folder of the inference log; complete segments are compacted first.
        store: Folder of the labels, or of outcomes in the same form.
        model: The model's name.
        task: How a label becomes an outcome: 1 for a right decision and otherwise 0, of a regression less the absolute
            error; None takes the values of the store as they are.
        champion: One version.
        candidate: The other one.
        since: Requests from then on.
        delay: After an event, so long until its outcome is known.
        reach: Longest time from an event to the time of an outcome that belongs to it.
    """
    compaction.compact(log)
    with (
        tempfile.TemporaryDirectory() as scratch,
        duckdb.connect(config={"memory_limit": "1500MB", "temp_directory": scratch}) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        labeled.log_view(connection, compaction.files(log), model)
        labeled.join_labels(connection, store, max(reach, labeled.CLOCK_TOLERANCE))
        now = labeled.clock(connection)
        if now is None:
            return Arms()
        both = f"{literal(champion)}, {literal(candidate)}"
        connection.execute(f"""
            CREATE TABLE units AS
            SELECT coalesce(entity, request_id) AS unit, min(release) AS release, count(DISTINCT release) AS releases,
                   avg({_OUTCOMES[task]}) AS outcome
            FROM labeled
            WHERE release IN ({both}) AND "at" >= {_time(since)} AND event_time <= {_time(now - delay)}
            GROUP BY 1
        """)
        measured = connection.execute("""
            SELECT release, count(outcome), avg(outcome), var_samp(outcome)
            FROM units WHERE releases = 1 AND isfinite(outcome) GROUP BY release
        """).fetchall()
        crossed = labeled.number(connection, "SELECT count(*) FROM units WHERE releases > 1")
    arms = {
        release: Arm(entities=entities, mean=mean, variance=variance or 0.0)
        for release, entities, mean, variance in measured
    }
    return Arms(champion=arms.get(champion, Arm()), candidate=arms.get(candidate, Arm()), crossed=crossed)


_RIGHT = "CASE WHEN label IS NOT NULL THEN coalesce(decision = label, false)::DOUBLE END"
_OUTCOMES: dict[Task | None, str] = {
    "binary": _RIGHT,
    "multiclass": _RIGHT,
    "regression": "-abs(score - label::DOUBLE)",
    None: "label::DOUBLE",
}


def _time(moment: datetime) -> str:
    return f"{literal(moment.isoformat())}::TIMESTAMPTZ"
