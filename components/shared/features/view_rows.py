"""Compute the rows of a feature view: ``sql/<view>.sql`` over the tables of a snapshot, at once or by period."""

from pathlib import Path

import duckdb

from components.shared.errors import InputError
from components.shared.features import periods
from components.shared.features.repository import ViewSpec
from components.shared.features.snapshot import require


def file_of(view: ViewSpec) -> str:
    """Name the SQL file of a view, as a message names it."""
    return f"feature_repo/sql/{view.name}.sql"


def times_of(view: ViewSpec) -> list[str]:
    """Name the time columns of a view: the event time and, if the view has one, the creation time."""
    return [view.time] if view.created is None else [view.time, view.created]


def define(connection: duckdb.DuckDBPyConnection, repo: Path, view: ViewSpec) -> dict[str, str]:
    """Create the temporary view ``_answer`` with the rows of a feature view.

    Args:
        connection: A connection with a view per source, see ``snapshot.connect``.
        repo: The folder with ``sql/``.
        view: The feature view.

    Returns:
        Column to its DuckDB type.

    Raises:
        InputError: If the SQL file does not exist, the SQL fails, or a column that ``features.py`` names is absent.
    """
    file = file_of(view)
    path = repo / "sql" / f"{view.name}.sql"
    if not path.is_file():
        raise InputError(f"{file} does not exist; expected the SQL of the feature view {view.name!r}. Create it.")
    query = path.read_text(encoding="utf-8").strip().rstrip(";")
    periods.check(query, view.period, file)
    try:
        if view.period is not None:
            periods.compute(connection, query, view.period, file)
            query = "SELECT * FROM _by_period"
        connection.execute(f"CREATE OR REPLACE TEMP VIEW _answer AS {query}")
        described = connection.execute("DESCRIBE _answer").fetchall()
    except duckdb.Error as error:
        raise failure(view, error) from error
    kinds = {row[0]: row[1] for row in described}
    times = times_of(view)
    for name in [view.entity, *times, *view.features]:
        require(name, list(kinds), f"the result of {file}", "the column")
    for name in times:
        if not kinds[name].startswith(("TIMESTAMP", "DATE")):
            raise InputError(f"column {name!r} of {file} has the type {kinds[name]}; expected a timestamp. Cast it.")
    return kinds


def failure(view: ViewSpec, error: duckdb.Error) -> InputError:
    """Shorten DuckDB's message about failed SQL to one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    message = " ".join(line for line in lines if line.strip("^ "))
    return InputError(f"{file_of(view)} fails: {message}. Correct the SQL.")
