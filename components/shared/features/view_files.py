"""Compute the rows of the feature views: run ``sql/<view>.sql`` on the snapshot and write the files for Feast."""

from pathlib import Path

import duckdb

from components.shared.errors import InputError
from components.shared.features import names, view_rows
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import quoted


def write_view(connection: duckdb.DuckDBPyConnection, repo: Path, view: ViewSpec) -> int:
    """Write the rows of one view, reduced to the entities, times and columns that the examples need.

    Rows of one entity with equal times are a tie, for which the result of a join would be undefined: only the row with
    the largest values, column by column, is kept.

    Args:
        connection: A connection with a view per source and the table ``_examples``.
        repo: The folder with ``sql/``; the rows are written to ``view.path`` below it.
        view: The view to write.

    Returns:
        The number of rows that were dropped because of a tie.

    Raises:
        InputError: If the SQL file does not exist, the SQL fails, or a column that ``features.py`` names is absent.
    """
    kinds = view_rows.define(connection, repo, view)
    _check_entity(connection, view_rows.file_of(view), kinds[view.entity], view.entity)
    target = repo / view.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return _write(connection, view, view_rows.times_of(view), target)


def _check_entity(connection: duckdb.DuckDBPyConnection, file: str, kind: str, entity: str) -> None:
    row = connection.execute("SELECT any_value(typeof(entity)) FROM _examples").fetchone()
    expected = row[0] if row else kind
    if (kind == "VARCHAR") != (expected == "VARCHAR"):
        raise InputError(
            f"the column {entity!r} has the type {kind} in {file} and {expected} in the label's source; expected one "
            "type. Cast one of them."
        )


def _write(connection: duckdb.DuckDBPyConnection, view: ViewSpec, times: list[str], target: Path) -> int:
    entity = quoted(view.entity)
    columns = ", ".join(
        [
            entity,
            *(f"{quoted(name)}::TIMESTAMP AS {quoted(names.time(name))}" for name in times),
            *(f"{quoted(name)} AS {quoted(names.feature(name))}" for name in view.features),
        ]
    )
    keys = ", ".join([entity, *(quoted(names.time(name)) for name in times)])
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE _picked AS SELECT {columns} FROM _answer"
            f" WHERE {entity} IN (SELECT entity FROM _examples)"
            f" AND {quoted(view.time)}::TIMESTAMP <= (SELECT max(event_time) FROM _examples)"
        )
    except duckdb.Error as error:
        raise view_rows.failure(view, error) from error
    row = connection.execute(
        f"SELECT (SELECT count(*) FROM _picked) - (SELECT count(*) FROM (SELECT DISTINCT {keys} FROM _picked))"
    ).fetchone()
    ties = row[0] if row else 0
    values = ", ".join(f"{quoted(names.feature(name))} DESC NULLS LAST" for name in view.features)
    first = f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {values}) = 1" if ties else ""
    file = str(target).replace("'", "''")
    connection.execute(f"COPY (SELECT * FROM _picked{first}) TO '{file}' (FORMAT parquet)")
    connection.execute("DROP TABLE _picked")
    return ties
