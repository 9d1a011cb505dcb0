"""Select the examples: entity, event time and label."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb

from components.shared import label_values
from components.shared.errors import InputError
from components.shared.features.snapshot import quoted, require
from components.shared.project import Project
from components.shared.sql import literal


@dataclass(frozen=True)
class LabelCounts:
    """Numbers of rows of the label's source that were left out, and of duplicate examples."""

    left_out_young: int
    left_out_missing: int
    left_out_decided: int
    duplicates: int


def select(connection: duckdb.DuckDBPyConnection, project: Project, as_of: datetime | None) -> LabelCounts:
    """Check the label's source and create the table ``_examples`` (row, entity, event_time, label).

    A row whose label is not yet due is left out even if it has one: of young rows, often only one class is known (a
    customer leaves on day 3, one who stays is known on day 30), which would bias training and evaluation. ``row``
    numbers the examples by event time, entity and label, so that equal tables get equal numbers. Rows that are equal in
    all three are kept as several rows.

    A row is also left out if the decision that was acted on has hidden or changed its label: what happened then does
    not tell what happens if nobody acts, which is what the model predicts. It depends on the features alone which rows
    these are, except for explored decisions, so that the others still show how the label depends on the features.

    Args:
        connection: A connection of ``connect``, with a view per source.
        project: Names the columns, the task and the label's delay.
        as_of: The run's clock, which is the newest time in any table; None if no table has a time.

    Raises:
        InputError: If a column does not exist, a time or an entity is missing, a label that is due is missing (unless
            the project drops such rows), an example has two labels, or the labels do not suit the task.
    """
    label = project.label
    table = f"source {label.source!r}"
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {quoted(label.source)}").fetchall()}
    for name, role in ((project.entity, "entity"), (project.event_time, "event_time"), (label.column, "label.column")):
        require(name, list(kinds), table, role)
    entity, time, column = map(quoted, (project.entity, project.event_time, label.column))
    _check_time(project, kinds[project.event_time])
    connection.execute(
        f"CREATE TABLE _labelled AS SELECT {entity} AS entity, {time}::TIMESTAMP AS event_time, {column} AS label,"
        f" {_is_decided(project, kinds)} AS is_decided FROM {quoted(label.source)}"
    )
    if kinds[label.column] in ("DOUBLE", "FLOAT"):
        # Not in the SELECT: DuckDB 2.0 relies on parquet's statistics, which exclude NaN, and would find none.
        connection.execute("UPDATE _labelled SET label = NULL WHERE isnan(label)")
    rows, no_entity, no_time = _one(
        connection, "SELECT count(*), count(*) - count(entity), count(*) - count(event_time) FROM _labelled"
    )
    if not rows:
        raise InputError(f"{table} has no rows; expected labelled examples. Check the label's source.")
    if no_entity or no_time:
        name, count = (project.entity, no_entity) if no_entity else (project.event_time, no_time)
        raise InputError(
            f"{count} of {rows} rows of {table} have no {name!r}; expected a value in each row. "
            "Fill in the values or remove the rows."
        )
    newest = as_of or connection.execute("SELECT max(event_time) FROM _labelled").fetchall()[0][0]
    decided = _leave_out_decided(connection, project, rows)
    delay = label.delay_days
    due = newest - timedelta(days=delay)
    young, missing = _without_label(connection, project, newest, due, rows - decided)
    # Without a delay, a label is known with its event, even if another table's clock is behind.
    connection.execute("DELETE FROM _labelled WHERE label IS NULL OR (? AND event_time > ?)", [delay > 0, due])
    _check_conflicts(connection, project)
    _check_classes(connection, project)
    connection.execute(
        "CREATE TABLE _examples AS SELECT row_number() OVER (ORDER BY event_time, entity, label) - 1 AS row,"
        " entity, event_time, label FROM _labelled ORDER BY row"
    )
    duplicates = _one(
        connection,
        "SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM _examples GROUP BY entity, event_time)",
    )[0]
    return LabelCounts(left_out_young=young, left_out_missing=missing, left_out_decided=decided, duplicates=duplicates)


def select_newest(connection: duckdb.DuckDBPyConnection, project: Project, as_of: datetime | None) -> LabelCounts:
    """Create the table ``_examples`` with each entity of the label's source once, at the run's clock.

    Its label is null. ``row`` numbers the entities in their order.

    Raises:
        InputError: If the source lacks the entity or the event time, or has no rows.
    """
    table = f"source {project.label.source!r}"
    source = quoted(project.label.source)
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {source}").fetchall()}
    for name, role in ((project.entity, "entity"), (project.event_time, "event_time")):
        require(name, list(kinds), table, role)
    entity, time = quoted(project.entity), quoted(project.event_time)
    _check_time(project, kinds[project.event_time])
    newest = as_of or connection.execute(f"SELECT max({time})::TIMESTAMP FROM {source}").fetchall()[0][0]
    connection.execute(
        "CREATE TABLE _examples AS SELECT row_number() OVER (ORDER BY entity) - 1 AS row, entity,"
        f" ?::TIMESTAMP AS event_time, NULL::VARCHAR AS label FROM (SELECT DISTINCT {entity} AS entity FROM {source}"
        f" WHERE {entity} IS NOT NULL) ORDER BY row",
        [newest],
    )
    if not _one(connection, "SELECT count(*) FROM _examples")[0]:
        raise InputError(f"{table} has no rows; expected entities to score. Check the label's source.")
    return LabelCounts(left_out_young=0, left_out_missing=0, left_out_decided=0, duplicates=0)


def _one(connection: duckdb.DuckDBPyConnection, query: str, values: list[object] | None = None) -> tuple[int, ...]:
    row = connection.execute(query, values or []).fetchone()
    assert row is not None
    return row


def _check_time(project: Project, kind: str) -> None:
    if not kind.startswith(("TIMESTAMP", "DATE")):
        raise InputError(
            f"event_time {project.event_time!r} of source {project.label.source!r} has the type {kind}; expected a "
            "date or a timestamp. Write times as 2024-01-31 or 2024-01-31 12:00:00, and set 'time' of the source to "
            "this column."
        )


def _is_decided(project: Project, kinds: dict[str, str]) -> str:
    """Return SQL that is true of rows whose label a decision has hidden or changed.

    Raises:
        InputError: If the source has no such column.
    """
    label = project.label
    if label.decision_column is None:
        return "false"
    require(label.decision_column, list(kinds), f"source {label.source!r}", "label.decision_column")
    kind = kinds[label.decision_column]
    text, decisions = f"{quoted(label.decision_column)}::VARCHAR", list(label.selective)
    if kind == "BOOLEAN":
        decisions = [decision.lower() for decision in decisions]
    elif kind in ("DOUBLE", "FLOAT"):
        # A whole number that has become a float beside missing values is the same decision.
        text = f"regexp_replace({text}, '\\.0$', '')"
        decisions = [decision.removesuffix(".0") for decision in decisions]
    elif kind != "VARCHAR":
        decisions = [decision.removesuffix(".0") for decision in decisions]
    return f"coalesce({text} IN ({', '.join(map(literal, decisions))}), false)"


def _leave_out_decided(connection: duckdb.DuckDBPyConnection, project: Project, rows: int) -> int:
    """Delete the rows whose label a decision has hidden or changed; return how many there were."""
    decided = _one(connection, "SELECT count(*) FILTER (is_decided) FROM _labelled")[0]
    if decided == rows:
        label = project.label
        raise InputError(
            f"all {rows} rows of source {label.source!r} have a decision {label.decision_column!r} in "
            f"{sorted(label.selective)}, after which a label tells nothing; expected rows without one. Explore some of "
            "these decisions ('monitoring: exploration'), or add rows that nobody acted on."
        )
    connection.execute("DELETE FROM _labelled WHERE is_decided")
    return decided


def _without_label(
    connection: duckdb.DuckDBPyConnection, project: Project, newest: datetime, due: datetime, rows: int
) -> tuple[int, int]:
    """Count the rows whose label is not yet due, and the missing labels that are due."""
    young, old = _one(
        connection,
        "SELECT count(*) FILTER (event_time > ? AND (? OR label IS NULL)),"
        " count(*) FILTER (event_time <= ? AND label IS NULL) FROM _labelled",
        [due, project.label.delay_days > 0, due],
    )
    if old and project.label.missing == "refuse":
        raise InputError(
            f"{old} of {rows} rows of source {project.label.source!r} have no label {project.label.column!r}, although "
            f"they are older than the delay of {project.label.delay_days} days at {newest:%Y-%m-%d}; expected a label "
            "in each. Fill in the labels, raise label.delay_days, or set label.missing to drop."
        )
    if young + old == rows:
        raise InputError(
            f"no row of source {project.label.source!r} has a label {project.label.column!r} yet; expected rows that "
            f"are older than {project.label.delay_days} days. Wait, or lower label.delay_days."
        )
    return young, old


def _check_conflicts(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    conflicts = connection.execute(
        "SELECT entity, event_time, min(label), max(label) FROM _labelled GROUP BY entity, event_time"
        " HAVING count(DISTINCT label) > 1 ORDER BY event_time, entity"
    ).fetchall()
    if conflicts:
        entity, time, low, high = conflicts[0]
        raise InputError(
            f"{len(conflicts)} examples of source {project.label.source!r} have two labels, first "
            f"{project.entity} {entity!r} at {time} with {low!r} and {high!r}; expected one label per entity and event "
            "time. Remove the wrong rows, or choose an entity or event time that distinguishes them."
        )


def _check_classes(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    distinct = f"SELECT DISTINCT label FROM _labelled ORDER BY label LIMIT {label_values.LISTED}"
    label_values.check(project, [row[0] for row in connection.execute(distinct).fetchall()])
