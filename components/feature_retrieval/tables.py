"""The views' rows: DuckDB runs ``sql/<view>.sql`` over the snapshot and writes what Feast will join."""

from pathlib import Path

import duckdb

from components.feature_retrieval import names
from components.feature_retrieval.examples import demand, quoted
from components.feature_retrieval.repository import ViewSpec
from components.shared.errors import InputError


def materialise(connection: duckdb.DuckDBPyConnection, repo: Path, view: ViewSpec) -> int:
    """Write the rows of one view, reduced to the entities, times and columns that the examples can ask for.

    Rows of one entity with equal times are a tie that a join could break either way: the one whose values are
    largest, column by column, is kept.

    Args:
        connection: With a view per source and the table ``_examples``.
        repo: The folder with ``sql/``; the rows go to ``view.path`` below it.
        view: What to write.

    Returns:
        How many rows lost a tie.

    Raises:
        InputError: If the SQL is absent, fails, or lacks a column that ``features.py`` names.
    """
    file = f"feature_repo/sql/{view.name}.sql"
    path = repo / "sql" / f"{view.name}.sql"
    if not path.is_file():
        raise InputError(f"{file} is missing; expected the SQL that computes the feature view {view.name!r}.")
    query = path.read_text(encoding="utf-8").strip().rstrip(";")
    try:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW _answer AS {query}")
        described = connection.execute("DESCRIBE _answer").fetchall()
    except duckdb.Error as error:
        raise _failure(file, error) from error
    kinds = {row[0]: row[1] for row in described}
    times = [view.time] if view.created is None else [view.time, view.created]
    for name in [view.entity, *times, *view.features]:
        demand(name, list(kinds), f"the answer of {file}", f"The column (named in features.py for {view.name!r})")
    _check_entity(connection, file, kinds[view.entity], view.entity)
    for name in times:
        if not kinds[name].startswith(("TIMESTAMP", "DATE")):
            raise InputError(f"{name!r} of {file} is {kinds[name]}; expected a timestamp. Cast it in the SQL.")
    target = repo / view.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return _write(connection, view, times, target)


def _failure(file: str, error: duckdb.Error) -> InputError:
    """Say in one line what DuckDB says in several."""
    lines = [line.strip() for line in str(error).splitlines()]
    return InputError(f"{file} fails: {' '.join(line for line in lines if line.strip('^ '))}. Correct the SQL.")


def _check_entity(connection: duckdb.DuckDBPyConnection, file: str, kind: str, entity: str) -> None:
    row = connection.execute("SELECT any_value(typeof(entity)) FROM _examples").fetchone()
    wanted = row[0] if row else kind
    if (kind == "VARCHAR") != (wanted == "VARCHAR"):
        raise InputError(f"{entity!r} of {file} is {kind}, but {wanted} in the label's source; cast one of them.")


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
