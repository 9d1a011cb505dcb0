"""Compact complete segments of the inference log to parquet files by day, each row exactly once.

Every file's metadata names the batches of segments that it holds, and the days over which each batch is spread. A
batch counts as compacted when each of its days has a file that names it; only then are its segments deleted. A process
that is killed at any point therefore leaves a log from which the next compaction goes on: files of a batch of which a
day is missing are deleted, and the batch is written again. Merging the files of a day works alike: the new file names
those that it replaces, and readers leave these out.
"""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from components.shared.errors import StepFailed
from components.shared.files import replacing
from components.shared.inference_log import forgetting, rows, segments

_LOCK = "compaction.lock"
_BATCH_BYTES = 256 * 2**20
_MOST_FILES = 16
_ROW_GROUP = 128 * 1024
_BATCHES, _REPLACES = b"perennial.batches", b"perennial.replaces"
_US_PER_DAY = 86_400 * 10**6


@dataclass(frozen=True)
class Compacted:
    """What a compaction did.

    Attributes:
        rows: Number of rows added.
        segments: Number of segments that were deleted, because their rows are in parquet files now.
        torn_bytes: Length of last lines that were cut off when their writer was killed.
        damaged: Why each segment that cannot be read was set aside.
    """

    rows: int = 0
    segments: int = 0
    torn_bytes: int = 0
    damaged: tuple[str, ...] = ()

    def __add__(self, other: "Compacted") -> "Compacted":
        """Add what another compaction did."""
        return Compacted(
            self.rows + other.rows,
            self.segments + other.segments,
            self.torn_bytes + other.torn_bytes,
            self.damaged + other.damaged,
        )


def compact(folder: Path) -> Compacted:
    """Compact every segment that no process writes any more; a damaged one is renamed to ``*.damaged``."""
    folder.mkdir(parents=True, exist_ok=True)
    total = Compacted()
    with _exclusive(folder):
        _remove_replaced(folder)
        _remove_incomplete(folder)
        done = {segment for path in files(folder) for segment in _metadata(path).segments}
        for batch in _grouped(segments.complete(folder)):
            total += _write(folder, [path for path in batch if path.name not in done])
            total += Compacted(segments=_delete(batch))
        _merge(folder)
    return total


def files(folder: Path, start: date | None = None, end: date | None = None) -> list[Path]:
    """List the files of the days from ``start`` up to and including ``end``, without replaced ones."""
    paths_of_days = []
    for day in _days(folder):
        when = date.fromisoformat(day.name.removeprefix("day="))
        if (start is None or when >= start) and (end is None or when <= end):
            paths_of_days += _files_of(day)
    return paths_of_days


def _files_of(day: Path) -> list[Path]:
    """List the files of one day, without replaced ones."""
    paths = sorted(day.glob("*.parquet"))
    gone = replaced(paths)
    return [path for path in paths if path.name not in gone]


def replaced(paths: Iterable[Path]) -> set[str]:
    """Return the names of the files that some files of a day replace."""
    return {name for path in paths for name in _metadata(path).replaces}


def expire(folder: Path, retention_days: int, now: datetime) -> list[str]:
    """Delete the days that are older than the retention, and the notes about them; return the days.

    A log that does not exist has none.
    """
    if not folder.exists():
        return []
    last = (now.astimezone(UTC) - timedelta(days=retention_days)).date()
    expired = []
    with _exclusive(folder):
        forgetting.expire(folder, retention_days, now)
        for day in _days(folder):
            if date.fromisoformat(day.name.removeprefix("day=")) < last:
                for path in day.glob("*"):
                    path.unlink()
                day.rmdir()
                expired.append(day.name.removeprefix("day="))
    return expired


def forget(folder: Path, entities: Collection[str], now: datetime) -> set[tuple[str, int]]:
    """Remove every row of some entities, also those that are not compacted yet.

    Returns:
        Request id and row of each row that was removed from a compacted file.
    """
    if not folder.exists():
        return set()
    compact(folder)
    # What a server writes at this moment is dropped when it is compacted.
    with _exclusive(folder):
        forgetting.note(folder, entities, now)
    wanted = pa.array(sorted(entities), pa.string())
    return _dropped(folder, lambda table: pc.invert(pc.is_in(table["entity"], wanted)))


def drop(folder: Path, forgotten: forgetting.Forgotten) -> None:
    """Remove from the compacted files what has been forgotten elsewhere."""
    if folder.exists():
        _dropped(folder, lambda table: pa.array(forgotten.keeps(table)))


def _dropped(folder: Path, keeps: Callable[[pa.Table], pa.Array | pa.ChunkedArray]) -> set[tuple[str, int]]:
    removed: set[tuple[str, int]] = set()
    with _exclusive(folder):
        for path in files(folder):
            table = parquet.read_table(path)
            kept = keeps(table)
            dropped = table.filter(pc.invert(kept))
            if dropped.num_rows:
                removed |= set(zip(dropped["request_id"].to_pylist(), dropped["row"].to_pylist(), strict=True))
                metadata = _metadata(path)
                # The file keeps the names of its batches, or their segments would be compacted again.
                _write_file(path, table.filter(kept), metadata.batches, metadata.replaces)
    return removed


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Let one process at a time change the compacted files; the system releases the lock when its holder dies."""
    with (folder / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _FileMetadata:
    batches: Mapping[str, Any]
    """Batch to its segments and days."""
    replaces: tuple[str, ...]

    @property
    def segments(self) -> list[str]:
        return [segment for batch in self.batches.values() for segment in batch["segments"]]


def _metadata(path: Path) -> _FileMetadata:
    content = parquet.read_schema(path).metadata or {}
    return _FileMetadata(json.loads(content.get(_BATCHES, b"{}")), tuple(json.loads(content.get(_REPLACES, b"[]"))))


def _grouped(paths: Iterable[Path]) -> Iterable[list[Path]]:
    batch: list[Path] = []
    size = 0
    for path in paths:
        batch.append(path)
        size += path.stat().st_size
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(folder: Path, batch: list[Path]) -> Compacted:
    """Write the rows of some segments, one file per day."""
    tables, torn_bytes, damaged = [], 0, []
    forgotten = forgetting.read(folder)
    for path in batch:
        try:
            part = rows.read(path)
        except StepFailed as reason:
            path.rename(path.with_name(f"{path.name}.damaged"))
            damaged.append(str(reason))
            continue
        torn_bytes += part.torn_bytes
        if part.table.num_rows:
            tables.append(part.table.filter(pa.array(forgotten.keeps(part.table))))
    if not tables:
        return Compacted(torn_bytes=torn_bytes, damaged=tuple(damaged))
    table = pa.concat_tables(tables, promote_options="default").sort_by([("at", "ascending"), ("row", "ascending")])
    day_of_row = table["at"].cast(pa.int64()).to_numpy() // _US_PER_DAY
    days = {int(day): str(date(1970, 1, 1) + timedelta(days=int(day))) for day in np.unique(day_of_row)}
    name = hashlib.sha256("\n".join(path.name for path in batch).encode()).hexdigest()[:16]
    batches = {name: {"segments": [path.name for path in batch], "days": list(days.values())}}
    for day, text in days.items():
        target = folder / f"day={text}" / f"{batch[0].name.split('-')[0]}-{name}.parquet"
        _write_file(target, table.filter(pa.array(day_of_row == day)), batches, ())
    return Compacted(rows=table.num_rows, torn_bytes=torn_bytes, damaged=tuple(damaged))


def _delete(batch: list[Path]) -> int:
    """Delete compacted segments; one that was set aside is gone already."""
    present = [path for path in batch if path.exists()]
    for path in present:
        path.unlink()
    return len(present)


def _write_file(path: Path, table: pa.Table, batches: Mapping[str, Any], replaces: Iterable[str]) -> None:
    metadata = {_BATCHES: json.dumps(batches).encode(), _REPLACES: json.dumps(sorted(replaces)).encode()}
    table = table.replace_schema_metadata(metadata)
    with replacing(path) as partial:
        parquet.write_table(table, partial, compression="zstd", row_group_size=_ROW_GROUP)


def _remove_incomplete(folder: Path) -> None:
    """Delete the files of a batch of which a day is missing, if its segments are still there to be written again.

    Without the segments, the day was deleted because of its age.
    """
    pending = {path.name for path in segments.wal(folder).glob("*")}
    days_of_batch: dict[str, set[str]] = {}
    paths = files(folder)
    for path in paths:
        for batch in _metadata(path).batches:
            days_of_batch.setdefault(batch, set()).add(path.parent.name.removeprefix("day="))
    for path in paths:
        for batch, content in _metadata(path).batches.items():
            if not days_of_batch[batch].issuperset(content["days"]) and pending.intersection(content["segments"]):
                path.unlink(missing_ok=True)


def _merge(folder: Path) -> None:
    """Turn the files of a day that has many into one."""
    for day in _days(folder):
        paths = _files_of(day)
        if len(paths) <= _MOST_FILES:
            continue
        tables = [parquet.read_table(path) for path in paths]
        merged = pa.concat_tables(tables, promote_options="default").sort_by([("at", "ascending")])
        name = hashlib.sha256("\n".join(path.name for path in paths).encode()).hexdigest()[:16]
        target = day / f"{paths[0].name.split('-')[0]}-{name}.parquet"
        # Every segment of these files has been deleted, so the new file need not name them.
        _write_file(target, merged, {}, [path.name for path in paths])
        _remove_replaced(folder)


def _remove_replaced(folder: Path) -> None:
    for day in _days(folder):
        for partial in day.glob("*.partial"):
            partial.unlink()
        paths = sorted(day.glob("*.parquet"))
        for name in replaced(paths):
            (day / name).unlink(missing_ok=True)


def _days(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("day=*") if path.is_dir())
