"""Forget entities in the log and the labels of a bucket, while a collector goes on publishing there.

A note, of salted hashes only, is left in the bucket before what is published is rewritten. The collector reads new
notes before it compacts, drops the rows from all that it still has, and publishes that again. A day's files leave its
disk no earlier than one round after they were published, so that each file is either rewritten here, or published
after the note was read.
"""

import tempfile
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs, parquet

from components.shared import files, label_store, sources
from components.shared.inference_log import compaction, forgetting, remote


def rows_of(system: fs.FileSystem, folder: str, entities: Collection[str], now: datetime) -> set[tuple[str, int]]:
    """Return request id and row of what a published log holds about some entities up to a moment.

    Args:
        system: The bucket's file system; its errors are not converted.
        folder: Path of the log in it.
        entities: Whose rows.
        now: Later rows stay.
    """
    rows: set[tuple[str, int]] = set()
    for _, file in _logged(system, folder):
        table = file.read(columns=["entity", "at", "request_id", "row"])
        theirs = table.filter(_is_theirs(table, entities, now))
        rows |= set(zip(theirs["request_id"].to_pylist(), theirs["row"].to_pylist(), strict=True))
    return rows


def forget(system: fs.FileSystem, folder: str, entities: Collection[str], now: datetime) -> set[tuple[str, int]]:
    """Remove the rows of some entities from a published log, and leave a note for its collector.

    Their labels are to be removed before: nothing tells later whose rows these were. See ``rows_of``, whose arguments
    these are.

    Returns:
        Request id and row of each row that was removed.
    """
    name = f"{_stem(now)}.jsonl"
    remote.create(system, f"{folder}/{forgetting.FOLDER}/{name}", forgetting.notes(entities, now).encode())
    removed: set[tuple[str, int]] = set()
    for path, file in _logged(system, folder):
        columns = file.read(columns=["entity", "at"])
        if not pc.any(_is_theirs(columns, entities, now)).as_py():
            continue
        table = file.read()
        is_theirs = _is_theirs(table, entities, now)
        theirs = table.filter(is_theirs)
        removed |= set(zip(theirs["request_id"].to_pylist(), theirs["row"].to_pylist(), strict=True))
        _replace(system, path, table.filter(pc.invert(is_theirs)))
    return removed


def _logged(system: fs.FileSystem, folder: str) -> Iterator[tuple[str, parquet.ParquetFile]]:
    """Open each file of a published log; one that the collector has merged into another meanwhile is left out."""
    for path in remote.listed(system, folder):
        if path.endswith(".parquet"):
            try:
                stream = system.open_input_file(path)
            except FileNotFoundError:
                continue
            with stream:
                yield path, parquet.ParquetFile(stream)


def _is_theirs(table: pa.Table, entities: Collection[str], now: datetime) -> pa.ChunkedArray:
    moment = pa.scalar(now, table["at"].type)
    is_named = pc.is_in(table["entity"], pa.array(sorted(entities), pa.string()))
    return pc.and_(is_named, pc.less_equal(table["at"], moment))


def forget_labels(
    system: fs.FileSystem, folder: str, entities: Collection[str], rows: Collection[tuple[str, int]]
) -> int:
    """Remove labels from a bucket as ``label_store.forget`` does; return how many."""
    removed = 0
    for path in remote.listed(system, folder):
        if not path.endswith(".parquet"):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch, PurePosixPath(path).name)
            with system.open_input_file(path) as stream:
                copy.write_bytes(stream.read())
            of_file = label_store.forget(Path(scratch), entities, rows)
            if of_file:
                _replace(system, path, parquet.read_table(copy))
        removed += of_file
    return removed


def fetch_notes(uri: str, log: Path) -> bool:
    """Copy notes that are new from the bucket; return whether some wait for ``settle``.

    Args:
        uri: The published log.
        log: The collector's own.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    system, prefix = sources.bucket(uri)
    noted = log / forgetting.FOLDER
    noted.mkdir(parents=True, exist_ok=True)
    with sources.bucket_errors(uri):
        for path in remote.listed(system, f"{prefix}/{forgetting.FOLDER}"):
            settled = noted / PurePosixPath(path).name
            if not settled.exists():
                with (
                    system.open_input_file(path) as stream,
                    files.replacing(settled.with_suffix(forgetting.WAITING)) as partial,
                ):
                    partial.write_bytes(stream.read())
    return any(noted.glob(f"*{forgetting.WAITING}"))


def drop(log: Path) -> None:
    """Drop the rows that the waiting notes are about from the compacted files of the collector."""
    waiting = sorted((log / forgetting.FOLDER).glob(f"*{forgetting.WAITING}"))
    compaction.drop(log, forgetting.parse("".join(path.read_text(encoding="utf-8") for path in waiting)))


def settle(log: Path) -> None:
    """Note that what the waiting notes are about has left log and bucket."""
    for path in (log / forgetting.FOLDER).glob(f"*{forgetting.WAITING}"):
        path.rename(path.with_suffix(".jsonl"))


def expire(uri: str, log: Path, retention_days: int, now: datetime) -> None:
    """Delete the notes about rows that are older than the retention, in the bucket and then of the collector.

    Args:
        uri: The published log, whose days beyond the retention have been deleted.
        log: The collector's own.
        retention_days: Days that the bucket keeps.
        now: The end of the last of them.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    system, prefix = sources.bucket(uri)
    first = _stem(forgetting.oldest(retention_days, now))
    with sources.bucket_errors(uri):
        for path in remote.listed(system, f"{prefix}/{forgetting.FOLDER}"):
            if PurePosixPath(path).stem < first:
                system.delete_file(path)
    for settled in (log / forgetting.FOLDER).glob("*.jsonl"):
        if settled.stem < first:
            settled.unlink()


def _stem(moment: datetime) -> str:
    """Return how the name of a note of this moment begins; names sort as their moments."""
    return f"{int(moment.timestamp() * 1e6):020d}"


def _replace(system: fs.FileSystem, path: str, table: pa.Table) -> None:
    """Replace a file, with the metadata that names its batches."""
    content = pa.BufferOutputStream()
    parquet.write_table(table, content, compression="zstd")
    remote.create(system, path, content.getvalue().to_pybytes())
