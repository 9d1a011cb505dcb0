"""The parquet files of one source must agree on the names and the types of their columns."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingestion import columns
from components.shared.errors import InputError


def check(name: str, paths: Sequence[Path], limit: int) -> None:
    """Check names and types in the files themselves: DuckDB renames a column, or reads numbers as texts, to join them.

    Integers may become floating-point numbers, and a column without values may have any type.

    Args:
        name: Name of the source.
        paths: Its files.
        limit: The largest number of columns.

    Raises:
        InputError: If a name is unusable, or the types of two files cannot be joined.
    """
    first: dict[str, tuple[Path, pa.DataType]] = {}
    for path in paths:
        # A file that isn't parquet is refused by DuckDB, with its reason.
        with contextlib.suppress(OSError, ValueError):
            schema = pq.read_schema(path)
            columns.check_names(name, schema.names, limit)
            for field in schema:
                if pa.types.is_null(field.type):
                    continue
                other, type_ = first.setdefault(field.name, (path, field.type))
                if _family(type_) != _family(field.type):
                    raise InputError(
                        f"source '{name}': the column '{field.name}' has the type {type_} in {other.name} and "
                        f"{field.type} in {path.name}; expected one type in all files of the folder. Rewrite one of "
                        "the files, or remove it."
                    )


def _family(type_: pa.DataType) -> str:
    """Return what a type can be joined with without another meaning of its values."""
    if pa.types.is_dictionary(type_):
        return _family(type_.value_type)
    if pa.types.is_integer(type_) or pa.types.is_floating(type_) or pa.types.is_decimal(type_):
        return "number"
    if pa.types.is_date(type_) or pa.types.is_timestamp(type_):
        return "time"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return "text"
    return str(type_)
