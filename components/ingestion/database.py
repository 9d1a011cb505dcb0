"""Sources that are a query to a database: DuckDB, or any database that SQLAlchemy supports."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import sqlalchemy as sa

from components.ingestion import columns, staged
from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import literal

_CHUNK = 50_000
_DUCKDB = "duckdb:///"


def relation(engine: duckdb.DuckDBPyConnection, name: str, source: Source, root: Path, work: Path, limit: int) -> str:
    """Return SQL for the rows of the query; rows of databases other than DuckDB are copied to ``work`` first.

    Args:
        engine: A connection.
        name: Name of the source.
        source: The source.
        root: The folder that a database's file is relative to.
        work: A folder for copied rows.
        limit: The largest number of columns.

    Raises:
        InputError: If the database cannot be reached or rejects the query; the message contains no credentials.
    """
    database = str(source.database)
    # A query in parentheses can neither install an extension nor change the database.
    query = f"(\n{str(source.query).strip().rstrip(';')}\n)"
    if not database.startswith(_DUCKDB):
        return f"read_parquet({literal(str(_staged(name, source, query, root, work, limit) / '*.parquet'))})"
    file = root / database.removeprefix(_DUCKDB)
    if not file.is_file():
        raise InputError(
            f"source '{name}': the DuckDB file {database.removeprefix(_DUCKDB)} does not exist in {root}; "
            "expected a DuckDB file. Create it or change 'database' in the project file."
        )
    engine.execute(f"ATTACH {literal(str(file))} AS origin (READ_ONLY)")
    engine.execute("USE origin")
    # Inside another query DuckDB renames one of two columns that differ in case only.
    columns.check_names(name, [row[0] for row in engine.execute(f"DESCRIBE {query}").fetchall()], limit)
    return query


def query_error(name: str, source: Source, problem: Exception) -> str:
    """Write the message about a query that failed, without the credentials."""
    reason = _without_secrets(str(problem).strip().splitlines()[0], _credentials(name, source))
    return (
        f"source '{name}': the database query failed ({reason.rstrip('.')}); expected rows. "
        "Check 'database', 'query' and 'credentials_env' in the project file."
    )


def _credentials(name: str, source: Source) -> tuple[str, str] | None:
    """Read user and password from the environment variable that the source names."""
    if source.credentials_env is None:
        return None
    value = os.environ.get(source.credentials_env)
    if value is None or ":" not in value:
        state = "not set" if value is None else "without a colon"
        raise InputError(
            f"source '{name}': the environment variable {source.credentials_env} is {state}; expected 'user:password'. "
            "Set it before the run."
        )
    user, _, password = value.partition(":")
    return user, password


def _without_secrets(text: str, credentials: tuple[str, str] | None) -> str:
    user, password = credentials or ("", "")
    for secret in sorted({f"{user}:{password}", password, quote(password, safe="")} - {"", ":"}, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def _url(name: str, source: Source, root: Path) -> sa.URL:
    """Build the URL to connect to."""
    try:
        url = sa.make_url(str(source.database))
    except sa.exc.ArgumentError:
        raise InputError(
            f"source '{name}': 'database' is not a valid SQLAlchemy URL; expected a URL such as "
            "postgresql+psycopg://host/name or duckdb:///file.duckdb. Correct 'database' in the project file."
        ) from None
    if url.password is not None:
        raise InputError(
            f"source '{name}': 'database' contains a password; expected a URL without credentials. "
            "Put 'user:password' into an environment variable and name the variable in 'credentials_env'."
        )
    credentials = _credentials(name, source)
    if credentials:
        url = url.set(username=credentials[0], password=credentials[1])
    if url.get_backend_name() == "sqlite" and url.database:
        if not (root / url.database).is_file():
            raise InputError(
                f"source '{name}': the SQLite file {url.database} does not exist in {root}; expected a "
                "SQLite file. Create it or change 'database' in the project file."
            )
        url = url.set(database=str(root / url.database))
    return url


def _staged(name: str, source: Source, query: str, root: Path, work: Path, limit: int) -> Path:
    """Copy the rows of a query to parquet, in chunks."""
    url = _url(name, source, root)
    try:
        engine = sa.create_engine(url)
        # Without parameters a driver leaves '%' alone, which LIKE needs.
        options: dict[str, Any] = {"stream_results": True, "yield_per": _CHUNK, "no_parameters": True}
        with engine.connect().execution_options(**options) as connection:
            result = connection.exec_driver_sql(f"SELECT * FROM {query} AS source_rows")
            names = list(result.keys())
            columns.check_names(name, names, limit)
            staged.write(name, names, result.partitions(), work / f"{name}.rows")
            return work / f"{name}.rows"
    except InputError:
        raise
    except ModuleNotFoundError as missing:
        raise InputError(
            f"source '{name}': the database driver '{missing.name}' is not installed in this step. "
            "Add it to components/ingestion/requirements.in and run 'make lock STEP=ingestion'."
        ) from None
    except Exception as caught:  # Any exception of a driver may contain the URL with its password.
        message = query_error(name, source, caught)
    raise InputError(message)
