"""Sources that are a query to a database: DuckDB, or any database that SQLAlchemy supports."""

import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from components.shared.errors import InputError
from components.shared.project import Source
from components.shared.sql import literal

_CHUNK = 50_000
_DUCKDB = "duckdb:///"


def relation(engine: duckdb.DuckDBPyConnection, name: str, source: Source, root: Path, work: Path) -> str:
    """Return SQL for the rows of the query; rows of databases other than DuckDB are copied to ``work`` first.

    Raises:
        InputError: If the database cannot be reached or rejects the query; the message contains no credentials.
    """
    database = str(source.database)
    # A query in parentheses can neither install an extension nor change the database.
    query = f"(\n{str(source.query).strip().rstrip(';')}\n)"
    if not database.startswith(_DUCKDB):
        return f"read_parquet({literal(str(_staged(name, source, query, root, work) / '*.parquet'))})"
    file = root / database.removeprefix(_DUCKDB)
    if not file.is_file():
        raise InputError(
            f"source '{name}': the DuckDB file {database.removeprefix(_DUCKDB)} does not exist in {root}; "
            "expected a DuckDB file. Create it or change 'database' in the project file."
        )
    engine.execute(f"ATTACH {literal(str(file))} AS origin (READ_ONLY)")
    engine.execute("USE origin")
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


def _staged(name: str, source: Source, query: str, root: Path, work: Path) -> Path:
    """Copy the rows of a query to parquet, in chunks."""
    url = _url(name, source, root)
    try:
        engine = sa.create_engine(url)
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK) as connection:
            result = connection.exec_driver_sql(f"SELECT * FROM {query} AS source_rows")
            return _staged_rows(name, list(result.keys()), result.partitions(), work)
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


def _staged_rows(name: str, names: list[str], partitions: Iterable[Sequence[Sequence[Any]]], work: Path) -> Path:
    """Write one parquet file per chunk; all files get types that can hold the values of every chunk."""
    folder = work / f"{name}.rows"
    folder.mkdir()
    parts = []
    schema = pa.schema([(column, pa.null()) for column in names])
    for number, rows in enumerate(partitions):
        chunk = pa.table(
            [_array(name, column, values) for column, values in zip(names, zip(*rows, strict=False), strict=True)],
            names,
        )
        schema = _joined(name, schema, chunk.schema)
        parts.append(folder / f"{number:08d}.parquet")
        pq.write_table(chunk, parts[-1])
    final = pa.schema(
        [pa.field(field.name, pa.string() if pa.types.is_null(field.type) else field.type) for field in schema]
    )
    for part in parts:
        chunk = pq.read_table(part)
        if chunk.schema != final:
            pq.write_table(chunk.cast(final), part)
    if not parts:
        pq.write_table(final.empty_table(), folder / "none.parquet")
    return folder


def _array(name: str, column: str, values: Sequence[Any]) -> pa.Array:
    """Convert a chunk of a column to Arrow; a Decimal becomes a float, a UUID becomes text."""
    plain = [
        float(value) if isinstance(value, Decimal) else str(value) if isinstance(value, UUID) else value
        for value in values
    ]
    try:
        return pa.array(plain)
    except OverflowError:
        return pa.array([None if value is None else float(value) for value in plain])
    except pa.ArrowInvalid:
        raise InputError(_mixed(name, column)) from None


def _joined(name: str, left: pa.Schema, right: pa.Schema) -> pa.Schema:
    """Return a schema whose types can hold the values of both."""
    try:
        return pa.unify_schemas([left, right], promote_options="permissive")
    except pa.ArrowTypeError:
        column = next(field.name for field in right if left.field(field.name).type not in (pa.null(), field.type))
        raise InputError(_mixed(name, column)) from None


def _mixed(name: str, column: str) -> str:
    return (
        f"source '{name}': column '{column}' has values of several types; expected one type in each column. "
        "Cast the column in 'query'."
    )
