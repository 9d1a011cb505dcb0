"""The examples: which entity, at which time, with which label."""

import difflib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import duckdb

from components.shared.errors import InputError
from components.shared.project import Project


@dataclass(frozen=True)
class LabelCounts:
    """What became of the rows of the label's source."""

    left_out_young: int
    left_out_missing: int
    duplicates: int


def connect(snapshot: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """Open DuckDB with one view per table of the snapshot; all times are UTC, what memory lacks goes to ``scratch``."""
    connection = duckdb.connect(config={"autoinstall_known_extensions": False, "temp_directory": str(scratch)})
    connection.execute("SET TimeZone = 'UTC'")
    for path in sorted(snapshot.glob("*.parquet")):
        file = str(path).replace("'", "''")
        connection.execute(f"CREATE VIEW {quoted(path.stem)} AS SELECT * FROM read_parquet('{file}')")
    return connection


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return '"' + name.replace('"', '""') + '"'


def demand(name: str, known: list[str], where: str, role: str) -> None:
    """Refuse a column that does not exist, and name the nearest that does.

    Raises:
        InputError: If ``name`` is not among ``known``.
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"the nearest is {near[0]!r}" if near else f"it has {', '.join(sorted(known)[:20])}"
    raise InputError(f"{role} {name!r} is not a column of {where}; {hint}. Correct the name in project.yaml.")


def select(connection: duckdb.DuckDBPyConnection, project: Project, as_of: datetime | None) -> LabelCounts:
    """Check the label's source and make the table ``_examples`` (row, entity, event_time, label) of what can be used.

    A label that is missing and younger than its delay has not come yet: the row is left out. ``row`` numbers the
    examples by event time, entity and label, so equal tables give equal numbers. Rows that are equal in all three
    stay as they are, several rows.

    Args:
        connection: With a view per source, see ``connect``.
        project: Names the columns, the task and the label's delay.
        as_of: The clock of the run: the newest time in any table, None if no table has a time.

    Raises:
        InputError: If a column is absent, a time or an entity is missing, a label older than the delay is missing
            (unless the project drops those), an example has two labels, or the labels do not fit the task.
    """
    label = project.label
    table = f"source {label.source!r}"
    kinds = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {quoted(label.source)}").fetchall()}
    for name, role in ((project.entity, "entity"), (project.event_time, "event_time"), (label.column, "label.column")):
        demand(name, list(kinds), table, role)
    entity, time, column = map(quoted, (project.entity, project.event_time, label.column))
    _check_time(project, kinds[project.event_time])
    connection.execute(
        f"CREATE TABLE _labelled AS SELECT {entity} AS entity, {time}::TIMESTAMP AS event_time, {column} AS label"
        f" FROM {quoted(label.source)}"
    )
    if kinds[label.column] in ("DOUBLE", "FLOAT"):
        # Not while reading: DuckDB 2.0 trusts parquet's statistics, which leave NaN out, and finds none.
        connection.execute("UPDATE _labelled SET label = NULL WHERE isnan(label)")
    rows, no_entity, no_time = _one(
        connection, "SELECT count(*), count(*) - count(entity), count(*) - count(event_time) FROM _labelled"
    )
    if not rows:
        raise InputError(f"{table} has no rows; expected labelled examples.")
    if no_entity or no_time:
        name, count = (project.entity, no_entity) if no_entity else (project.event_time, no_time)
        raise InputError(
            f"{count} of {rows} rows of {table} have no {name!r}; every example needs one. "
            "Fill them in or remove the rows."
        )
    young, missing = _missing(connection, project, as_of, rows)
    connection.execute("DELETE FROM _labelled WHERE label IS NULL")
    _check_conflicts(connection, project)
    _check_classes(connection, project)
    connection.execute(
        "CREATE TABLE _examples AS SELECT row_number() OVER (ORDER BY event_time, entity, label) - 1 AS row, *"
        " FROM _labelled ORDER BY row"
    )
    duplicates = _one(
        connection,
        "SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM _examples GROUP BY entity, event_time)",
    )[0]
    return LabelCounts(left_out_young=young, left_out_missing=missing, duplicates=duplicates)


def _one(connection: duckdb.DuckDBPyConnection, query: str, values: list[object] | None = None) -> tuple[int, ...]:
    row = connection.execute(query, values or []).fetchone()
    assert row is not None
    return row


def _check_time(project: Project, kind: str) -> None:
    if not kind.startswith(("TIMESTAMP", "DATE")):
        raise InputError(
            f"event_time {project.event_time!r} of source {project.label.source!r} is {kind}; expected a date or a "
            "timestamp. Write it as 2024-01-31 or 2024-01-31 12:00:00, and name it as the source's 'time' too."
        )


def _missing(
    connection: duckdb.DuckDBPyConnection, project: Project, as_of: datetime | None, rows: int
) -> tuple[int, int]:
    """Count missing labels that have not come yet, and those that should have."""
    newest = as_of or connection.execute("SELECT max(event_time) FROM _labelled").fetchall()[0][0]
    due = newest - timedelta(days=project.label.delay_days)
    young, old = _one(
        connection,
        "SELECT count(*) FILTER (event_time > ?), count(*) FILTER (event_time <= ?) FROM _labelled WHERE label IS NULL",
        [due, due],
    )
    if old and project.label.missing == "refuse":
        raise InputError(
            f"{old} of {rows} rows of source {project.label.source!r} have no label {project.label.column!r} although "
            f"they are older than its delay of {project.label.delay_days} days at {newest:%Y-%m-%d}; expected a label "
            "for each. Fill them in, raise label.delay_days, or set label.missing to drop."
        )
    if young + old == rows:
        raise InputError(
            f"No row of source {project.label.source!r} has a label {project.label.column!r} yet; expected some that "
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
            f"{len(conflicts)} examples of source {project.label.source!r} have two labels, the first is "
            f"{project.entity} {entity!r} at {time} with {low!r} and {high!r}; expected one label per entity and event "
            "time. Remove the wrong rows, or name an entity or event time that tells them apart."
        )


def _check_classes(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    label = project.label
    distinct = "SELECT DISTINCT label FROM _labelled ORDER BY label LIMIT 1001"
    values = [row[0] for row in connection.execute(distinct).fetchall()]
    if len(values) == 1:
        raise InputError(
            f"The label {label.column!r} has only the value {values[0]!r}; expected at least two. "
            "Check the column, or wait for examples of another kind."
        )
    if project.task == "regression":
        if not isinstance(values[0], (int, float)) and not hasattr(values[0], "as_tuple"):
            raise InputError(
                f"The label {label.column!r} holds {values[0]!r}; expected numbers for a regression. "
                "Set task to multiclass, or name another label.column."
            )
        return
    if project.task == "binary" and len(values) > 2:
        raise InputError(
            f"The label {label.column!r} has {len(values)} values such as {values[:3]}; expected two for a binary "
            "task. Set task to multiclass, or name another label.column."
        )
    if project.task == "binary" and label.positive is not None and str(label.positive) not in map(str, values):
        raise InputError(
            f"label.positive is {label.positive!r}, which the label {label.column!r} never has; it has {values}. "
            "Name one of them."
        )
