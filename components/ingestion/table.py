"""Write a relation as a parquet file whose bytes depend only on the content."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.ingestion import columns, plain
from components.shared.blank import BLANKS
from components.shared.documents.snapshot import TableDescription
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier

_ROW_GROUP = 100_000


class TimeMissing(Exception):
    """A time column holds a value that is not a time; the argument is the column's name."""


def write(
    engine: duckdb.DuckDBPyConnection,
    relation: str,
    raw: dict[str, str],
    types: dict[str, str],
    project: Project,
    name: str,
    path: Path,
) -> TableDescription:
    """Write one table and return its description for ``snapshot.json``.

    Args:
        engine: A connection that can read ``relation``.
        relation: SQL for the rows.
        raw: Column to DuckDB's type.
        types: Column to the type to write.
        project: The project.
        name: Name of the source.
        path: The parquet file to write.

    Raises:
        InputError: If the table is empty, or a time column holds a value that is not a time.
    """
    source = project.sources[name]
    times = list(columns.time_columns(project, name))
    types = {column: "TIMESTAMP" if column in times else type_ for column, type_ in types.items()}
    selected = {column: plain.expression(column, raw[column], types[column], source) for column in types}
    if source.row_number:
        selected[source.row_number], types[source.row_number] = "row_number() OVER ()", "BIGINT"
    if source.constant_time:
        moment = plain.moment(source.constant_time)
        if source.time_step_s:
            moment += f" + (row_number() OVER () - 1) * INTERVAL {source.time_step_s} SECOND"
        selected[str(source.time)], types[str(source.time)] = moment, "TIMESTAMP"
    # The row order of a database is undefined: sort the rows, so that equal content produces equal bytes.
    rows = f"(SELECT * FROM {relation} ORDER BY ALL)" if source.database else relation
    listed = ", ".join(f"{sql} AS {identifier(column)}" for column, sql in selected.items())
    try:
        reader = engine.sql(f"SELECT {listed} FROM {rows}").to_arrow_reader(_ROW_GROUP)
        count, spans = _stream(reader, path, times)
    except TimeMissing as problem:
        raise InputError(_bad_time(engine, rows, str(problem), selected, project, name)) from None
    if count == 0:
        raise InputError(
            f"source '{name}' has no rows; expected at least one. Check the file or query, and the period it covers."
        )
    main_time = source.time or (project.event_time if project.label.source == name else None)
    with path.open("rb") as stream:
        content = hashlib.file_digest(stream, "sha256").hexdigest()
    span = spans[main_time] if main_time else None
    return TableDescription(
        rows=count,
        columns=types,
        content_hash=content,
        time_range=(span[0].isoformat(), span[1].isoformat()) if span else None,
    )


def _stream(
    reader: pa.RecordBatchReader, path: Path, times: list[str]
) -> tuple[int, dict[str, tuple[datetime, datetime]]]:
    """Write row groups of equal size; return the number of rows, and the first and last time of each time column."""
    count = 0
    spans: dict[str, tuple[datetime, datetime]] = {}
    with pq.ParquetWriter(path, reader.schema, compression="snappy") as writer:
        for group in _row_groups(reader):
            for column in times:
                if group[column].null_count:
                    raise TimeMissing(column)
                span = pc.min_max(group[column]).as_py()
                first, last = span["min"].replace(tzinfo=UTC), span["max"].replace(tzinfo=UTC)
                previous = spans.get(column, (first, last))
                spans[column] = (min(previous[0], first), max(previous[1], last))
            writer.write_table(group.combine_chunks(), row_group_size=_ROW_GROUP)
            count += group.num_rows
    return count, spans


def _row_groups(reader: pa.RecordBatchReader) -> Iterator[pa.Table]:
    """Regroup the batches of a stream into tables of equal size."""
    pending: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        pending.append(batch)
        size += batch.num_rows
        while size >= _ROW_GROUP:
            joined = pa.Table.from_batches(pending)
            yield joined.slice(0, _ROW_GROUP)
            pending = joined.slice(_ROW_GROUP).to_batches()
            size -= _ROW_GROUP
    if size:
        yield pa.Table.from_batches(pending)


def _bad_time(
    engine: duckdb.DuckDBPyConnection, rows: str, column: str, selected: dict[str, str], project: Project, name: str
) -> str:
    """Write the message about the first row of a column whose value is not a time."""
    text = f"CAST({identifier(column)} AS VARCHAR)"
    inner = f"SELECT row_number() OVER () AS n, {text} AS v, {selected[column]} AS t FROM {rows}"
    row, value = engine.execute(f"SELECT n, v FROM ({inner}) WHERE t IS NULL LIMIT 1").fetchall()[0]
    is_missing = value is None or not value.strip(BLANKS)
    problem = "is missing" if is_missing else f"is {value!r}, which is not a time"
    advice = "Correct the values or name another column."
    if not is_missing:
        advice = (
            "Correct the values, name another column, or declare their format with 'convert' of the source, such as "
            f"try_strptime({identifier(column)}, '%d.%m.%Y')."
        )
    key = columns.time_columns(project, name)[column]
    return (
        f"source '{name}': '{column}' ({key}) in row {row} {problem}; expected an ISO 8601 time in each row, such as "
        f"2024-01-31 or 2024-01-31T12:00:00Z. {advice}"
    )
