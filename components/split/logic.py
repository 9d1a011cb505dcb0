"""Split the examples into training, validation and test rows without leakage between them."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared import files, row_groups
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.split import SplitRows, SplitSpans, SplitSummary
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier, literal
from components.split import methods

PARTS = ("train", "validation", "test")
Method = Literal["time", "hash", "random"]

_log = logging.getLogger(__name__)
_GAPS = 6
"""A time that is shorter than so many gaps has no room for the two of them that a split by time needs."""
_MEMORY = "1GB"
"""Most memory of the queries; what does not fit goes to a file for the time being."""
_LEFT_OUT = len(PARTS)

MIN_ROWS = 10
"""Smallest number of rows of a part."""


def divide(project: Project, training_set: Path, target: Path, seed: int = 7) -> SplitSummary:
    """Write ``train.parquet``, ``validation.parquet``, ``test.parquet`` and their summary ``split.json``.

    Each part keeps the order of the rows. Rows with equal entity and event time are always in the same part. The rows
    are read and written in groups; only one byte of each stays in memory.

    Args:
        project: Defines the method, the shares and the gap.
        training_set: Folder with ``rows.parquet``, and ``feature_views.json`` where features came from Feast.
        target: Folder for the parts; created if absent.
        seed: Seed of the method 'random'; the other methods ignore it.

    Returns:
        The summary: rows and time range per part, the method, and a hash of the content of all parts.

    Raises:
        InputError: If a part would have fewer than ``MIN_ROWS`` rows or only one class.
    """
    source = training_set / "rows.parquet"
    split = project.split
    if split.validation + split.test >= 1:
        raise InputError(
            f"split.validation {split.validation} and split.test {split.test} leave no rows for training; "
            "expected a sum below 1. Lower one of them."
        )
    gap = timedelta(days=project.label.delay_days if split.gap_days is None else split.gap_days)
    with _database() as connection:
        is_recent = _read_keys(connection, project, source)
        method = _method(connection, project, gap) if is_recent else split.method
        methods.assign(connection, method, split.validation, split.test, gap, seed, project.task)
        _check(project, methods.counts(connection))
        parts = _part_of_row(connection, pq.read_metadata(source).num_rows)
    target.mkdir(parents=True, exist_ok=True)
    spans = _write(source, parts, project.event_time, target)
    counts = dict(zip((*PARTS, "left_out"), np.bincount(parts, minlength=_LEFT_OUT + 1).tolist(), strict=True))
    summary = SplitSummary(
        method=method,
        gap_days=gap.days,
        rows=SplitRows(**counts),
        ranges=SplitSpans(**{name: (first.isoformat(), last.isoformat()) for name, (first, last) in spans.items()}),
        content_hash=files.sha256(target),
        repeated_test_rows=_repeated_test_rows(project, target),
    )
    summary.write(target)
    # The model's package names where its features come from.
    FeatureViews.hand_on(training_set, target)
    return summary


@contextmanager
def _database() -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a database in memory that uses a bounded part of it."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        duckdb.connect(config={"temp_directory": scratch, "memory_limit": _MEMORY}) as connection,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


def _read_keys(connection: duckdb.DuckDBPyConnection, project: Project, source: Path) -> bool:
    """Create the table ``keys`` of the rows to split; return whether these are the rows since the project's time.

    They are, if there are enough; else those of the project's newest days, or all.
    """
    split = project.split
    columns = (project.entity, project.event_time, project.label.column)
    rows = f"SELECT file_row_number, {', '.join(map(identifier, columns))} FROM read_parquet({literal(str(source))}, "
    connection.execute(
        f"CREATE TEMP TABLE keys AS SELECT * FROM ({rows}file_row_number=true)) AS _(row, entity, event_time, label)"
    )
    if split.since is not None:
        since = f"event_time >= '{split.since.astimezone(UTC).replace(tzinfo=None)}'::TIMESTAMP"
        [[later]] = connection.execute(f"SELECT count(*) FROM keys WHERE {since}").fetchall()
        if later >= split.since_rows:
            connection.execute(f"DELETE FROM keys WHERE NOT {since}")
            return True
        _log.info("only %d rows since %s, %d are needed", later, split.since, split.since_rows)
    if split.newest_days is not None:
        oldest = (
            f"max(event_time) - INTERVAL {timedelta(days=split.newest_days) // timedelta(microseconds=1)} MICROSECONDS"
        )
        connection.execute(f"DELETE FROM keys WHERE event_time <= (SELECT {oldest} FROM keys)")
    return False


def _method(connection: duckdb.DuckDBPyConnection, project: Project, gap: timedelta) -> Method:
    """Return how rows since a change are split: by entity where two gaps would take most of the time since then."""
    [[first, last]] = connection.execute("SELECT min(event_time), max(event_time) FROM keys").fetchall()
    is_short = last - first < _GAPS * gap
    return "hash" if project.split.method == "time" and is_short else project.split.method


def _part_of_row(connection: duckdb.DuckDBPyConnection, rows: int) -> NDArray[np.uint8]:
    """Return (rows,) the number of each row's part in ``PARTS``, or ``_LEFT_OUT``."""
    numbered = " ".join(f"WHEN '{name}' THEN {number}" for number, name in enumerate(PARTS))
    parts = np.full(rows, _LEFT_OUT, np.uint8)
    query = f"SELECT row, CASE part {numbered} END AS number FROM parts WHERE part IS NOT NULL"
    for batch in connection.sql(query).to_arrow_reader(row_groups.ROWS):
        parts[batch["row"].to_numpy()] = batch["number"].to_numpy()
    return parts


def _write(
    source: Path, parts: NDArray[np.uint8], event_time: str, target: Path
) -> dict[str, tuple[datetime, datetime]]:
    """Write the rows of each part; return the first and the last event time of each."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    first_row = 0
    with pq.ParquetFile(source) as rows, ExitStack() as stack:
        writers = {
            name: stack.enter_context(row_groups.RowGroupWriter(target / f"{name}.parquet", rows.schema_arrow))
            for name in PARTS
        }
        for batch in rows.iter_batches(row_groups.ROWS):
            part_of_row = parts[first_row : first_row + batch.num_rows]
            first_row += batch.num_rows
            for number, name in enumerate(PARTS):
                part = pa.Table.from_batches([batch.filter(pa.array(part_of_row == number))])
                if not part.num_rows:
                    continue
                writers[name].write(part)
                times = pc.min_max(part[event_time]).as_py()
                first, last = spans.get(name, (times["min"], times["max"]))
                spans[name] = min(first, times["min"]), max(last, times["max"])
    return spans


def _repeated_test_rows(project: Project, target: Path) -> int:
    """Count the test rows whose features and label are those of a training row, whoever they belong to and whenever."""
    columns = [*project.features.columns, project.label.column]
    key = f"hash({', '.join(map(identifier, columns))})"
    train, test = (f"read_parquet({literal(str(target / f'{name}.parquet'))})" for name in ("train", "test"))
    with _database() as connection:
        query = f"SELECT count(*) FROM {test} WHERE {key} IN (SELECT {key} FROM {train})"
        return int(connection.execute(query).fetchall()[0][0])


def _check(project: Project, parts: dict[str, methods.PartCounts]) -> None:
    """Check that each part has enough rows and, for a classification, at least two classes."""
    split, rows = project.split, sum(part.rows for part in parts.values())
    for name in PARTS:
        part = parts[name]
        if part.rows < MIN_ROWS:
            raise InputError(
                f"the {name} part has {part.rows} of {rows} rows ({parts[methods.GAPS].rows} are in the gaps of the "
                f"method {split.method!r}); expected at least {MIN_ROWS}. Add rows, raise the part's share under "
                "'split', or lower split.gap_days."
            )
        if project.task != "regression" and part.classes < 2:
            raise InputError(
                f"the {name} part has only the label {part.label!r}; expected at least two classes. "
                "Add rows, raise the part's share under 'split', or set split.method to random."
            )
