"""The inference log and the labels in a bucket: the collector publishes files, steps fetch a copy.

A published file is only changed to forget rows. A file that replaces others names them in its metadata, so readers
that fetched both leave the replaced ones out, and a publisher that is killed at any point goes on where it was.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from components.shared import files, sources
from components.shared.errors import InputError
from components.shared.inference_log import compaction

_KEPT = timedelta(days=2)
"""Days that stay on the collector's disk, because their files may still be merged."""


def publish(folder: Path, uri: str, now: datetime, *, again: bool = False) -> int:
    """Bring compacted files to a bucket; delete there what they replace, and here the days that are over.

    Args:
        folder: The log on this machine.
        uri: ``s3://bucket/prefix``, or another that pyarrow knows.
        now: Days that ended two days before are deleted here if all their files were in the bucket before.
        again: Whether files are copied that the bucket has, because rows of them were forgotten.

    Returns:
        The number of files that were copied.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    system, prefix = sources.bucket(uri)
    copied = 0
    with sources.bucket_errors(uri):
        for day in sorted(folder.glob("day=*")):
            there = {PurePosixPath(path).name for path in listed(system, f"{prefix}/{day.name}")}
            paths = [path for path in compaction.files(folder) if path.parent == day]
            new = [path for path in paths if again or path.name not in there]
            for path in new:
                create(system, f"{prefix}/{day.name}/{path.name}", path.read_bytes())
            copied += len(new)
            for name in compaction.replaced(paths) & there:
                system.delete_file(f"{prefix}/{day.name}/{name}")
            if not new and _date(day.name) < (now.astimezone(UTC) - _KEPT).date():
                for path in day.iterdir():
                    path.unlink()
                day.rmdir()
    return copied


def fetch(uri: str, folder: Path) -> Path:
    """Copy every parquet file of a log or of labels from a bucket; return the folder.

    Args:
        uri: A folder of this machine, which is returned as it is, or ``s3://bucket/prefix``.
        folder: Where the copy goes; files that it has are not copied again.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    if not sources.is_remote(uri):
        return Path(uri)
    from pyarrow import fs

    system, prefix = sources.bucket(uri)
    folder.mkdir(parents=True, exist_ok=True)
    with sources.bucket_errors(uri):
        # A bucket that does not exist would look like a log without a row.
        bucket = prefix.partition("/")[0]
        if bucket and system.get_file_info(bucket).type == fs.FileType.NotFound:
            raise InputError(f"there is no bucket {bucket!r} for {uri}; correct the target file.")
        for path in listed(system, prefix):
            target = folder / PurePosixPath(path).relative_to(prefix)
            if path.endswith(".parquet") and not target.exists():
                here = fs.LocalFileSystem()
                with files.replacing(target) as partial:
                    fs.copy_files(path, str(partial), source_filesystem=system, destination_filesystem=here)
    return folder


def expire(uri: str, retention_days: int, now: datetime) -> list[str]:
    """Delete the days of a bucket's log that are older than the retention; return them.

    Raises:
        InputError, StepFailed: If the bucket refuses, or does not answer.
    """
    system, prefix = sources.bucket(uri)
    last = (now.astimezone(UTC) - timedelta(days=retention_days)).date()
    expired = set()
    with sources.bucket_errors(uri):
        for path in listed(system, prefix):
            day = PurePosixPath(path).parent.name
            if day.startswith("day=") and _date(day) < last:
                system.delete_file(path)
                expired.add(day.removeprefix("day="))
    return sorted(expired)


def _date(day: str) -> date:
    return date.fromisoformat(day.removeprefix("day="))


def listed(system: Any, folder: str) -> list[str]:
    """List the files below a folder of a bucket; none if it does not exist."""
    from pyarrow import fs

    selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
    return sorted(info.path for info in system.get_file_info(selector) if info.type == fs.FileType.File)


def create(system: Any, path: str, content: bytes) -> None:
    """Write one file; a bucket shows it when it is whole, a folder of this machine by its new name."""
    from pyarrow import fs

    # pyarrow can't rename in a bucket, and need not.
    is_folder = isinstance(system, fs.LocalFileSystem)
    if is_folder:
        system.create_dir(str(PurePosixPath(path).parent), recursive=True)
    written = f"{path}.partial" if is_folder else path
    with system.open_output_stream(written) as stream:
        stream.write(content)
    if is_folder:
        system.move(written, path)
