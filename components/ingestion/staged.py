"""Rows of a database as parquet files: one per chunk, with types that hold the values of all chunks."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import InputError

_WRITTEN_AS_TEXT = (UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)
# DuckDB's widest integer; ingestion narrows it by the values.
_INTEGER = pa.decimal128(38, 0)


def write(name: str, names: list[str], partitions: Iterable[Sequence[Sequence[Any]]], folder: Path) -> None:
    """Write one parquet file per chunk; all files get the same schema.

    Args:
        name: Name of the source, for messages.
        names: Names of the columns.
        partitions: Chunks of rows, with the values as the database's driver returns them.
        folder: A folder to create.

    Raises:
        InputError: If a column has values of several types, or of one that no table has.
    """
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


def _array(name: str, column: str, values: Sequence[Any]) -> pa.Array:
    """Convert a chunk of a column to Arrow: integers stay exact, other decimal numbers become floats."""
    kinds = {type(value) for value in values if value is not None}
    if timedelta in kinds:
        raise InputError(_unusable(name, column, "intervals", f"EXTRACT(EPOCH FROM {column})"))
    if kinds & set(_WRITTEN_AS_TEXT):
        values = [None if value is None else str(value) for value in values]
    elif Decimal in kinds and kinds <= {Decimal, int}:
        is_whole = all(value is None or _is_whole(value) for value in values)
        convert = int if is_whole else float
        values = [None if value is None else convert(value) for value in values]
        if is_whole:
            return pa.array(values, _INTEGER)
    try:
        return pa.array(values)
    except OverflowError:
        return pa.array(values, _INTEGER)
    except pa.ArrowInvalid:
        if len(kinds) > 1:
            raise InputError(_mixed(name, column)) from None
        raise InputError(
            _unusable(name, column, f"the type {kinds.pop().__name__}", f"CAST({column} AS text)")
        ) from None


def _is_whole(value: Decimal | int) -> bool:
    """Say whether a number has no decimal places and at most 38 digits."""
    if isinstance(value, int):
        return abs(value) < 10**38
    exponent = value.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= 0 and value.adjusted() < 38


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


def _unusable(name: str, column: str, what: str, instead: str) -> str:
    return (
        f"source '{name}': column '{column}' has {what}; expected numbers, texts, booleans or times. Convert it in "
        f"'query', such as {instead}, or leave it out."
    )
