"""Split the examples into training, validation and test rows without leakage between them."""

import logging
import tempfile
from datetime import UTC, timedelta
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.split import SplitRows, SplitSpans, SplitSummary, TimeSpan
from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.sql import identifier, literal
from components.split import methods

PARTS = ("train", "validation", "test")
Method = Literal["time", "hash", "random"]

_log = logging.getLogger(__name__)
_GAPS = 6
"""A time that is shorter than so many gaps has no room for the two of them that a split by time needs."""

MIN_ROWS = 10
"""Smallest number of rows of a part."""


def divide(project: Project, training_set: Path, target: Path, seed: int = 7) -> SplitSummary:
    """Write ``train.parquet``, ``validation.parquet``, ``test.parquet`` and their summary ``split.json``.

    Each part keeps the order of the rows. Rows with equal entity and event time are always in the same part.

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
    rows = pq.read_table(source)
    examples = rows.num_rows
    rows, is_recent = _newest(rows, project)
    keys = rows.select([project.entity, project.event_time, project.label.column])
    gap = timedelta(days=project.label.delay_days if split.gap_days is None else split.gap_days)
    method = _method(rows, project, gap) if is_recent else split.method
    with tempfile.TemporaryDirectory() as scratch, duckdb.connect(config={"temp_directory": scratch}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("keys", _numbered(keys))
        parts = methods.assign(connection, method, split.validation, split.test, gap, seed, project.task)
    _check(project, keys, parts)
    target.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    spans: dict[str, TimeSpan] = {}
    for name in PARTS:
        part = rows.filter(pa.compute.equal(parts, name))
        pq.write_table(part, target / f"{name}.parquet", compression="zstd")
        times = pa.compute.min_max(part[project.event_time]).as_py()
        counts[name], spans[name] = len(part), (times["min"].isoformat(), times["max"].isoformat())
    summary = SplitSummary(
        method=method,
        gap_days=gap.days,
        rows=SplitRows(**counts, left_out=parts.null_count + examples - rows.num_rows),
        ranges=SplitSpans(**spans),
        content_hash=files.sha256(target),
        repeated_test_rows=_repeated_test_rows(project, target),
    )
    summary.write(target)
    # The model's package names where its features come from.
    FeatureViews.hand_on(training_set, target)
    return summary


def _method(rows: pa.Table, project: Project, gap: timedelta) -> Method:
    """Return how rows since a change are split: by entity where two gaps would take most of the time since then."""
    times = pa.compute.min_max(rows[project.event_time]).as_py()
    is_short = times["max"] - times["min"] < _GAPS * gap
    return "hash" if project.split.method == "time" and is_short else project.split.method


def _newest(rows: pa.Table, project: Project) -> tuple[pa.Table, bool]:
    """Return the rows since the project's time and True, if they are enough; else those of its newest days, or all."""
    days, since = project.split.newest_days, project.split.since
    times = rows[project.event_time]
    if since is not None:
        moment = pa.scalar(since.astimezone(UTC).replace(tzinfo=None), times.type)
        later = rows.filter(pa.compute.greater_equal(times, moment))
        if later.num_rows >= project.split.since_rows:
            return later, True
        _log.info("only %d rows since %s, %d are needed", later.num_rows, since, project.split.since_rows)
    if days is None or not rows.num_rows:
        return rows, False
    oldest = pa.compute.max(times).as_py() - timedelta(days=days)
    return rows.filter(pa.compute.greater(times, pa.scalar(oldest, times.type))), False


def _repeated_test_rows(project: Project, target: Path) -> int:
    """Count the test rows whose features and label are those of a training row, whoever they belong to and whenever."""
    columns = [*project.features.columns, project.label.column]
    key = f"hash({', '.join(map(identifier, columns))})"
    train, test = (f"read_parquet({literal(str(target / f'{name}.parquet'))})" for name in ("train", "test"))
    with duckdb.connect() as connection:
        query = f"SELECT count(*) FROM {test} WHERE {key} IN (SELECT {key} FROM {train})"
        return int(connection.execute(query).fetchall()[0][0])


def _numbered(keys: pa.Table) -> pa.Table:
    """Rename the key columns to entity, event_time and label, and add the row number."""
    return keys.rename_columns(["entity", "event_time", "label"]).append_column("row", pa.array(range(len(keys))))


def _check(project: Project, keys: pa.Table, parts: pa.Array) -> None:
    """Check that each part has enough rows and, for a classification, at least two classes."""
    label, split = keys[project.label.column], project.split
    for name in PARTS:
        part = label.filter(pa.compute.equal(parts, name))
        if len(part) < MIN_ROWS:
            raise InputError(
                f"the {name} part has {len(part)} of {len(keys)} rows ({parts.null_count} are in the gaps of the "
                f"method {split.method!r}); expected at least {MIN_ROWS}. Add rows, raise the part's share under "
                "'split', or lower split.gap_days."
            )
        if project.task != "regression" and pa.compute.count_distinct(part).as_py() < 2:
            raise InputError(
                f"the {name} part has only the label {part[0].as_py()!r}; expected at least two classes. "
                "Add rows, raise the part's share under 'split', or set split.method to random."
            )
