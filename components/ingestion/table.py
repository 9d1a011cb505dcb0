"""Write a relation as a parquet file whose bytes depend only on the content."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from components.ingestion import columns, plain
from components.shared import row_groups
from components.shared.blank import BLANKS
from components.shared.documents.snapshot import TableDescription
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier


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
        # An open reader would keep the connection from the query for the message about a bad time.
        with engine.sql(f"SELECT {listed} FROM {rows}").to_arrow_reader(row_groups.ROWS) as reader:
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
    with row_groups.RowGroupWriter(path, reader.schema, compression="snappy") as writer:
        for batch in reader:
            if not batch.num_rows:
                continue
            for column in times:
                if batch[column].null_count:
                    raise TimeMissing(column)
                span = pc.min_max(batch[column]).as_py()
                first, last = span["min"].replace(tzinfo=UTC), span["max"].replace(tzinfo=UTC)
                previous = spans.get(column, (first, last))
                spans[column] = (min(previous[0], first), max(previous[1], last))
            writer.write(pa.Table.from_batches([batch]))
            count += batch.num_rows
    return count, spans


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
