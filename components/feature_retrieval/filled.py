"""Refuse a feature that no training row has, although its source does: its SQL or its keys are wrong."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from components.shared.errors import InputError
from components.shared.features import parsed, view_rows
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import quoted
from components.shared.project import Project


def check(
    connection: duckdb.DuckDBPyConnection,
    project: Project,
    repo: Path,
    views: Sequence[ViewSpec],
    rows: int,
    missing: Mapping[str, int],
) -> None:
    """Check each declared feature that is missing in every row.

    Args:
        connection: A connection with a view per source, see ``snapshot.connect``.
        project: Declares the features.
        repo: The folder with ``sql/``.
        views: The feature views.
        rows: Number of training rows.
        missing: Feature to the number of rows that have no value of it.

    Raises:
        InputError: If the view has values that no row gets, or the columns that it is computed from have values.
    """
    for view in views:
        for name in view.features:
            if name in project.features.columns and missing[name] == rows:
                _check(connection, project, repo, view, name)


def _check(connection: duckdb.DuckDBPyConnection, project: Project, repo: Path, view: ViewSpec, feature: str) -> None:
    view_rows.define(connection, repo, view)
    file = view_rows.file_of(view)
    computed, key = connection.execute(
        f"SELECT count(*), first({quoted(view.entity)}) FROM _answer WHERE {quoted(feature)} IS NOT NULL"
    ).fetchall()[0]
    if computed:
        example = connection.execute("SELECT entity FROM _examples LIMIT 1").fetchall()[0][0]
        raise InputError(
            f"the feature {feature!r} is missing in every training row, although {file} computes {computed:,} values: "
            f"none belongs to an example's {view.entity!r} (such as {example!r}; the view has {key!r}) at or before "
            f"its {project.event_time!r} and within the view's ttl. Correct the keys, the times or the ttl."
        )
    if view.period is not None and not connection.execute("SELECT 1 FROM _answer LIMIT 1").fetchall():
        raise InputError(
            f"the feature {feature!r} is missing in every training row, because no period of {view.period!r} of {file} "
            "is complete yet: the tables that it reads begin and end within one. Choose a shorter period, or remove "
            "the feature from the project file until then."
        )
    query = (repo / "sql" / f"{view.name}.sql").read_text(encoding="utf-8").strip().rstrip(";")
    for table, column in sorted(_origins(connection, query, feature)):
        filled, value = connection.execute(
            f"SELECT count({quoted(column)}), first({quoted(column)}) FILTER ({quoted(column)} IS NOT NULL) "
            f"FROM {quoted(table)}"
        ).fetchall()[0]
        if filled:
            raise InputError(
                f"the feature {feature!r} is missing in every training row, although '{table}.{column}', which {file} "
                f"computes it from, has {filled:,} values, such as {value!r}. Correct the SQL, or remove the feature "
                "from the project file until it has values."
            )


def _origins(connection: duckdb.DuckDBPyConnection, query: str, name: str) -> set[tuple[str, str]]:
    """Return the columns of sources that an output column of a query is computed from, through its subqueries."""
    selected = [item for part in parsed.parts(connection, query) for item in part.get("select_list") or ()]
    outputs: set[str] = set()
    inputs = {name}
    # A column of a subquery is an input of one select list and an output of another.
    while inputs - outputs:
        outputs |= inputs
        inputs = {column for item in selected if _output(item) in outputs for column in _columns(parsed.objects(item))}
    existing = connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_name IN (SELECT unnest(?))",
        [sorted(parsed.tables(connection, query))],
    ).fetchall()
    return {(table, column) for table, column in existing if column in inputs}


def _output(item: dict[str, Any]) -> str:
    """Return the name of a selected expression."""
    return str(item.get("alias") or (item.get("column_names") or [""])[-1])


def _columns(parts: Iterable[dict[str, Any]]) -> Iterator[str]:
    return (part["column_names"][-1] for part in parts if part.get("column_names"))
