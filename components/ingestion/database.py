"""Sources that are a query to a database: DuckDB itself, or anything that SQLAlchemy speaks to."""

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
    """Return SQL of the rows that the query gives; other databases than DuckDB are copied to ``work`` first.

    Raises:
        InputError: If the database cannot be reached or refuses the query; without a credential in the sentence.
    """
    database = str(source.database)
    # One query in brackets can neither install an extension nor change the database.
    query = f"(\n{str(source.query).strip().rstrip(';')}\n)"
    if not database.startswith(_DUCKDB):
        return f"read_parquet({literal(str(_staged(name, source, query, root, work) / '*.parquet'))})"
    file = root / database.removeprefix(_DUCKDB)
    if not file.is_file():
        raise InputError(
            f"Source '{name}': there is no DuckDB file {database.removeprefix(_DUCKDB)} in {root}; expected one. "
            "Put it there or change 'database' in the project file."
        )
    engine.execute(f"ATTACH {literal(str(file))} AS origin (READ_ONLY)")
    engine.execute("USE origin")
    return query


def refused(name: str, source: Source, problem: Exception) -> str:
    """Say what a database answered, without the credentials."""
    said = _without_secrets(str(problem).strip().splitlines()[0], _credentials(name, source))
    return (
        f"Source '{name}': the database does not answer the query ({said.rstrip('.')}); expected rows. "
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
            f"Source '{name}': the environment variable {source.credentials_env} is {state}; expected 'user:password'. "
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
            f"Source '{name}': 'database' is not a URL that SQLAlchemy reads; expected one such as "
            "postgresql+psycopg://host/name or duckdb:///file.duckdb. Correct it."
        ) from None
    if url.password is not None:
        raise InputError(
            f"Source '{name}': 'database' holds a password; expected a URL without credentials. "
            "Put 'user:password' into an environment variable and name it in 'credentials_env'."
        )
    credentials = _credentials(name, source)
    if credentials:
        url = url.set(username=credentials[0], password=credentials[1])
    if url.get_backend_name() == "sqlite" and url.database:
        if not (root / url.database).is_file():
            raise InputError(
                f"Source '{name}': there is no SQLite file {url.database} in {root}; expected one. "
                "Put it there or change 'database' in the project file."
            )
        url = url.set(database=str(root / url.database))
    return url


def _staged(name: str, source: Source, query: str, root: Path, work: Path) -> Path:
    """Copy the rows of a query to parquet, a chunk at a time."""
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
            f"Source '{name}': the database needs the driver '{missing.name}', which this step does not have; expected "
            "it in components/ingestion/requirements.in. Add it there and re-lock."
        ) from None
    except Exception as caught:  # Whatever a driver raises may hold the URL with its password.
        sentence = refused(name, source, caught)
    raise InputError(sentence)


def _staged_rows(name: str, names: list[str], partitions: Iterable[Sequence[Sequence[Any]]], work: Path) -> Path:
    """Write one parquet file per chunk, all with the types that hold every chunk's values."""
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
    known = pa.schema(
        [pa.field(each.name, pa.string() if pa.types.is_null(each.type) else each.type) for each in schema]
    )
    for part in parts:
        chunk = pq.read_table(part)
        if chunk.schema != known:
            pq.write_table(chunk.cast(known), part)
    if not parts:
        pq.write_table(known.empty_table(), folder / "none.parquet")
    return folder


def _array(name: str, column: str, values: Sequence[Any]) -> pa.Array:
    """Turn a chunk of a column into Arrow; Decimal becomes a float, a UUID its text."""
    plain = [
        float(each) if isinstance(each, Decimal) else str(each) if isinstance(each, UUID) else each for each in values
    ]
    try:
        return pa.array(plain)
    except OverflowError:
        return pa.array([None if each is None else float(each) for each in plain])
    except pa.ArrowInvalid:
        raise InputError(_mixed(name, column)) from None


def _joined(name: str, left: pa.Schema, right: pa.Schema) -> pa.Schema:
    """Find types that hold the values of both."""
    try:
        return pa.unify_schemas([left, right], promote_options="permissive")
    except pa.ArrowTypeError:
        column = next(each.name for each in right if left.field(each.name).type not in (pa.null(), each.type))
        raise InputError(_mixed(name, column)) from None


def _mixed(name: str, column: str) -> str:
    return (
        f"Source '{name}': column '{column}' holds values of several kinds; expected one kind in each column. "
        "Cast it in 'query'."
    )
