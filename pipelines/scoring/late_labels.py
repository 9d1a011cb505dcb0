"""Read a table of labels that have become known since the prediction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from components.ingestion import columns as source_columns
from components.ingestion import conversion
from components.shared.errors import InputError
from components.shared.inference_log.labeled import CLOCK_TOLERANCE
from components.shared.inputs.rows import texts
from components.shared.label_store import SCHEMA
from components.shared.project import Project, Source
from pipelines.scoring.times import utc

_REQUEST = "request_id"


@dataclass(frozen=True)
class LabelColumns:
    """The columns of the table; None is the project's own name (``request_id`` for a request, if there is one).

    A table without the project's event time has labels of the newest row of each entity, unless ``time`` is given.
    """

    request_id: str | None = None
    entity: str | None = None
    time: str | None = None
    label: str | None = None
    known_at: str | None = None


def read(project: Project, table: Path, columns: LabelColumns, *, as_numbers: bool = False) -> pa.Table:
    """Read labels in the schema of the label store; rows without a label are left out.

    Where a column has the name that it has in the source of the labels, that source's ``convert`` applies to it.

    Args:
        project: Its entity, event time and label column are the names that a table has by default.
        table: A CSV or parquet file.
        columns: Other names of columns.
        as_numbers: Whether the column of the label must have numbers, as that of a regression.

    Raises:
        InputError: If the file cannot be read, lacks columns, or a key or time is missing.
    """
    source = project.sources[project.label.source]
    content = _content(table, source)
    label = columns.label or project.label.column
    by_request = columns.request_id is not None or (_REQUEST in content.column_names and columns.entity is None)
    if by_request:
        key = {_REQUEST: columns.request_id or _REQUEST}
    else:
        key = {"entity": columns.entity or project.entity}
        if columns.time is not None or project.event_time in content.column_names:
            key["event_time"] = columns.time or project.event_time
    needed = [label, *key.values(), *([columns.known_at] if columns.known_at else [])]
    if absent := [name for name in needed if name not in content.column_names]:
        raise InputError(
            f"{table.name} lacks the columns {absent}; it has {content.column_names}. Name its columns with "
            f"{'--value' if as_numbers else '--label'}, --request-id or --entity and --time"
            f"{'' if as_numbers else ', and --known-at'}."
        )
    content = _converted(content, source, table.stem, label, needed)
    known = content.filter(pa.compute.is_valid(content[label]))
    for name in key.values():
        if known[name].null_count:
            raise InputError(
                f"{table.name} has {known[name].null_count} labels without '{name}'; expected a value in each row."
            )
    if as_numbers or project.task == "regression":
        numbers = _as(known[label], pa.float64(), table, label)
        if (infinite := pa.compute.sum(pa.compute.invert(pa.compute.is_finite(numbers))).as_py() or 0) > 0:
            raise InputError(
                f"the column '{label}' of {table.name} has {infinite} values that are not finite (NaN or infinite); "
                "leave those rows out, or correct them."
            )
        labels = numbers.cast(pa.string())
    else:
        labels = pa.array(texts(known, label), pa.string())
    chosen = {"label": labels} | {name: _key(known, column, name, table) for name, column in key.items()}
    if columns.known_at:
        chosen["known_at"] = _as(known[columns.known_at], SCHEMA.field("known_at").type, table, columns.known_at)
    return pa.table([chosen.get(field.name, pa.nulls(known.num_rows, field.type)) for field in SCHEMA], schema=SCHEMA)


def check_times(labels: pa.Table, table: Path, now: datetime) -> None:
    """Refuse labels of the future: the newest one is the clock by which monitoring takes labels for due.

    Args:
        labels: What ``read`` returned.
        table: The file, for the message.
        now: The present; clocks may differ by ``CLOCK_TOLERANCE``.

    Raises:
        InputError: If a label is about a time, or became known at a time, that is yet to come.
    """
    latest = pa.scalar(now + CLOCK_TOLERANCE, pa.timestamp("us", tz="UTC"))
    for name, about in (("known_at", "became known"), ("event_time", "are about an event")):
        ahead = labels.filter(pa.compute.greater(labels[name], latest))
        if ahead.num_rows:
            first = pa.compute.min(ahead[name]).as_py()
            raise InputError(
                f"{ahead.num_rows:,} of {labels.num_rows:,} labels in {table.name} {about} after now, the first at "
                f"{first:%Y-%m-%d %H:%M} UTC; expected times up to {now:%Y-%m-%d %H:%M} UTC. Correct the column, or "
                "leave those rows out."
            )


def _content(table: Path, source: Source) -> pa.Table:
    # A conversion is written for the texts of the file.
    as_texts = csv.ConvertOptions(column_types=dict.fromkeys(source.convert, pa.string()))
    try:
        if table.suffix.lower() in (".csv", ".tsv", ".txt"):
            return csv.read_csv(table, convert_options=as_texts)
        return pq.read_table(table)
    except FileNotFoundError:
        raise InputError(f"the table {str(table)!r} does not exist; expected a CSV or parquet file.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(
            f"the table {str(table)!r} cannot be read ({error}); expected a CSV or parquet file."
        ) from error


def _converted(content: pa.Table, source: Source, name: str, label: str, needed: Sequence[str]) -> pa.Table:
    """Compute the needed columns that the project file has SQL for; all but the label need a value in each row."""
    chosen = source.model_copy(update={"convert": {c: sql for c, sql in source.convert.items() if c in needed}})
    if not chosen.convert:
        return content
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("content", content)
        raw = source_columns.describe(engine, "content")
        conversion.check(engine, name, "content", raw, chosen, keys=set(needed) - {label})
        return engine.sql(f"SELECT * FROM {conversion.applied('content', raw, chosen)}").to_arrow_table()


def _key(known: pa.Table, column: str, name: str, table: Path) -> pa.Array | pa.ChunkedArray:
    if name == "event_time":
        return _as(known[column], SCHEMA.field("event_time").type, table, column)
    return pa.array(texts(known, column), pa.string())


def _as(values: pa.ChunkedArray, kind: pa.DataType, table: Path, column: str) -> pa.ChunkedArray:
    try:
        return utc(values) if pa.types.is_timestamp(kind) else values.cast(kind)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"the column '{column}' of {table.name} cannot be read as {kind} ({error}); correct it."
        ) from error
