"""Compute the rows of the feature views: run ``sql/<view>.sql`` on the snapshot and write the files for Feast."""

from pathlib import Path

import duckdb

from components.feature_retrieval import names
from components.feature_retrieval.examples import quoted, require
from components.feature_retrieval.repository import ViewSpec
from components.shared.errors import InputError


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
    file = f"feature_repo/sql/{view.name}.sql"
    path = repo / "sql" / f"{view.name}.sql"
    if not path.is_file():
        raise InputError(f"{file} does not exist; expected the SQL of the feature view {view.name!r}. Create it.")
    query = path.read_text(encoding="utf-8").strip().rstrip(";")
    try:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW _answer AS {query}")
        described = connection.execute("DESCRIBE _answer").fetchall()
    except duckdb.Error as error:
        raise _failure(file, error) from error
    kinds = {row[0]: row[1] for row in described}
    times = [view.time] if view.created is None else [view.time, view.created]
    for name in [view.entity, *times, *view.features]:
        require(name, list(kinds), f"the result of {file}", "the column")
    _check_entity(connection, file, kinds[view.entity], view.entity)
    for name in times:
        if not kinds[name].startswith(("TIMESTAMP", "DATE")):
            raise InputError(f"column {name!r} of {file} has the type {kinds[name]}; expected a timestamp. Cast it.")
    target = repo / view.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return _write(connection, view, times, target)


def _failure(file: str, error: duckdb.Error) -> InputError:
    """Shorten DuckDB's message about failed SQL to one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    return InputError(f"{file} fails: {' '.join(line for line in lines if line.strip('^ '))}. Correct the SQL.")


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
        raise _failure(f"feature_repo/sql/{view.name}.sql", error) from error
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
