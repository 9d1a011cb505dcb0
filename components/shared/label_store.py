"""Labels that become known after the prediction: a folder of parquet files, one per added table.

A label belongs to a request (and one of its rows, or all), or to an entity and a time. What is added is never changed:
a revised label is added again, and the latest one counts. A file is named by its content: a table that was added last
is not added again, and one that was added before that changes nothing but what was revised since.
"""

import hashlib
import io
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from components.shared import files
from components.shared.sql import identifier, literal

SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("row", pa.int32()),
        ("entity", pa.string()),
        ("event_time", pa.timestamp("us", tz="UTC")),
        ("label", pa.string()),
        ("known_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Either ``request_id`` is set, with ``row`` null for all rows of the request, or ``entity``.

With an entity, ``event_time`` is the time that the label is about; null is the entity's newest row.
"""


@dataclass(frozen=True)
class AddedLabels:
    """What became of a table of labels; ``is_new`` is false if the same table was added last."""

    rows: int
    is_new: bool


def add(folder: Path, labels: pa.Table, now: datetime) -> AddedLabels:
    """Add labels.

    Args:
        folder: The store; created if absent.
        labels: A table with the columns of ``SCHEMA``.
        now: When they are added; a later label of the same key replaces an earlier one.
    """
    if labels.num_rows == 0:
        return AddedLabels(0, is_new=False)
    content = hashlib.sha256(_bytes(labels.cast(SCHEMA))).hexdigest()[:16]
    newest = max(folder.glob("*.parquet"), default=None)
    if newest is not None and newest.stem.endswith(f"-{content}"):
        return AddedLabels(labels.num_rows, is_new=False)
    added_at = pa.array([now.astimezone(UTC)] * labels.num_rows, pa.timestamp("us", tz="UTC"))
    target = folder / f"{int(now.timestamp() * 1e6):020d}-{content}.parquet"
    with files.replacing(target) as partial:
        parquet.write_table(labels.cast(SCHEMA).append_column("added_at", added_at), partial, compression="zstd")
    return AddedLabels(labels.num_rows, is_new=True)


def content_of(file: Path) -> str:
    """Return the end of a file's name, which is that of every file with the same labels.

    >>> content_of(Path("00000000001767225600-0123456789abcdef.parquet"))
    '-0123456789abcdef.parquet'
    """
    return f"-{file.name.rpartition('-')[2]}"


def forget(folder: Path, entities: Collection[str], rows: Collection[tuple[str, int]]) -> int:
    """Remove the labels of some entities, and of some rows of requests; return how many.

    Args:
        folder: The store.
        entities: Whose labels.
        rows: Request id and row; a label of a whole request goes with any of its rows.
    """
    removed = 0
    requests = {request for request, _ in rows}
    for path in sorted(folder.glob("*.parquet")):
        table = parquet.read_table(path)
        keys = zip(*(table[name].to_pylist() for name in ("entity", "request_id", "row")), strict=True)
        kept = [
            entity not in entities and not (request in requests and (row is None or (request, row) in rows))
            for entity, request, row in keys
        ]
        if not all(kept):
            removed += len(kept) - sum(kept)
            with files.replacing(path) as partial:
                parquet.write_table(table.filter(pa.array(kept)), partial, compression="zstd")
    return removed


def query(folder: Path) -> str:
    """Return SQL (DuckDB) for the latest label of each key, with ``revised``: whether it had another value before."""
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        columns = ", ".join(f"NULL::{_sql_type(field.type)} AS {identifier(field.name)}" for field in SCHEMA)
        return f"SELECT {columns}, false AS revised WHERE false"
    return f"""
        SELECT request_id, "row", entity, event_time, last(label ORDER BY added_at) AS label,
               last(known_at ORDER BY added_at) AS known_at, count(DISTINCT label) > 1 AS revised
        FROM read_parquet([{_listed(paths)}])
        GROUP BY request_id, "row", entity, event_time
    """


def of_request(folder: Path, rows: pa.Table) -> dict[int, str]:
    """Return the latest labels of the rows of one request, by the number of the row.

    A label of an entity counts if it is about the row's very event time.

    Args:
        folder: The store.
        rows: Columns request_id, row, entity and event_time.
    """
    newest: dict[int, str] = {}
    for path in sorted(folder.glob("*.parquet")):
        for row in rows.to_pylist():
            by_id = (pc.field("request_id") == row["request_id"]) & (
                pc.field("row").is_null() | (pc.field("row") == row["row"])
            )
            by_entity = (pc.field("entity") == row["entity"]) & (pc.field("event_time") == row["event_time"])
            wanted = by_id if row["entity"] is None else by_id | by_entity
            labels = parquet.read_table(path, filters=wanted, columns=["label"])["label"].to_pylist()
            if labels:
                newest[row["row"]] = labels[-1]
    return newest


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(literal(str(path)) for path in paths)


def _sql_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    return "INTEGER" if pa.types.is_integer(kind) else "VARCHAR"


def _bytes(table: pa.Table) -> bytes:
    """Serialize a table so that equal content gives equal bytes."""
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return stream.getvalue()
