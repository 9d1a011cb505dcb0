"""Files behind a project's sources: where they lie, here or in a bucket, and a hash of what they hold."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from components.shared import files
from components.shared.errors import InputError, is_disk_full
from components.shared.project import Project, Source

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
# A file that was written this recently may change again without its time changing.
_SETTLED_S = 2.0


def is_text(source: Source) -> bool:
    """Is the source a CSV file?"""
    return source.path is not None and source.path.lower().endswith(TEXT_SUFFIXES)


def local_files(name: str, source: Source, root: Path) -> list[Path]:
    """List the files of a source that has a path: one CSV or parquet file, or the parquet files of a folder.

    Raises:
        InputError: If there is no such file, or it is of another kind.
    """
    path = root / str(source.path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.parquet") if file.is_file())
        if not files:
            raise InputError(
                f"Source '{name}': the folder {source.path} holds no parquet file; expected at least one '*.parquet'. "
                "Write the table there or change 'path' in the project file."
            )
        return files
    if not path.is_file():
        raise InputError(
            f"Source '{name}': there is no file {source.path} in {root}; expected a CSV or parquet file. "
            "Put the table there or change 'path' in the project file."
        )
    if path.suffix.lower() not in (*TEXT_SUFFIXES, ".parquet"):
        raise InputError(
            f"Source '{name}': {source.path} ends with {path.suffix or 'nothing'!r}; expected "
            f"{', '.join(TEXT_SUFFIXES)} or .parquet. Convert the table or rename the file."
        )
    return [path]


def is_remote(root: str) -> bool:
    """Is a folder of sources one in a bucket?

    >>> is_remote("s3://bucket/tables"), is_remote("/srv/churn")
    (True, False)
    """
    return "://" in root


def key(source: Source) -> str:
    """Name a source's file or folder below a bucket's folder: its path, as long as that stays in there.

    >>> key(Source(path="data/labels.csv")), key(Source(path="/srv/../labels.csv"))
    ('data/labels.csv', 'srv/__/labels.csv')
    """
    parts = PurePosixPath(str(source.path)).parts
    return "/".join("__" if part == ".." else part for part in parts if part != "/")


def bucket(uri: str) -> tuple[Any, str]:
    """Open the file system behind ``s3://`` or ``gs://``, and the path in it.

    Credentials, region and endpoint are those of the process: the usual ``AWS_*`` and ``GOOGLE_*`` variables.

    Raises:
        InputError: If the address is none, or nothing answers there.
    """
    from pyarrow import fs

    with answered(uri):
        return fs.FileSystem.from_uri(uri.rstrip("/"))


def fetch(project: Project, root: str, folder: Path) -> Project:
    """Copy every source that has a path out of a bucket.

    Args:
        project: Whose sources.
        root: ``s3://bucket/prefix`` or ``gs://bucket/prefix``; each source lies below it as ``key`` says.
        folder: Where to; created if absent.

    Returns:
        The project with the paths that its sources have below ``folder``.

    Raises:
        InputError: If the bucket does not answer, refuses, or lacks a source.
    """
    system, prefix = bucket(root)
    copied = {}
    for name, source in sorted(project.sources.items()):
        if source.path is not None:
            with answered(root, name):
                _fetch_one(name, key(source), system, prefix, root, folder)
            source = source.model_copy(update={"path": key(source)})
        copied[name] = source
    return project.model_copy(update={"sources": copied})


def _fetch_one(name: str, path: str, system: Any, prefix: str, root: str, folder: Path) -> None:
    from pyarrow import fs

    found = system.get_file_info(f"{prefix}/{path}")
    if found.type == fs.FileType.NotFound:
        raise InputError(
            f"Source '{name}': there is no {path} in {root}; expected a CSV or parquet file, or a folder of parquet "
            "files. Put the table there or change 'path' in the project file."
        )
    files = [found]
    if found.type == fs.FileType.Directory:
        files = system.get_file_info(fs.FileSelector(found.path, recursive=True))
        (folder / path).mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.type == fs.FileType.File:
            target = folder / PurePosixPath(file.path).relative_to(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            fs.copy_files(file.path, str(target), source_filesystem=system, destination_filesystem=fs.LocalFileSystem())


@contextlib.contextmanager
def answered(uri: str, name: str | None = None) -> Iterator[None]:
    """Turn what a bucket answers instead of a file into one sentence.

    Args:
        uri: What was asked for.
        name: The source that it is about, if it is about one.

    Raises:
        InputError: If it does not answer, refuses, or lacks the file.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as problem:
        if is_disk_full(problem):
            raise
        sentence = " ".join(str(problem).split()).rstrip(".")
        raise InputError(
            f"{f'Source {name!r}: ' if name else ''}the bucket behind {uri} does not give or take a file "
            f"({sentence}); check the address, the credentials and AWS_ENDPOINT_URL."
        ) from None


def source_hash(project: Project, root: Path, cache: Path | None = None) -> str | None:
    """Hash the content of all local source files, so that a cached ingestion is never a stale one.

    Args:
        project: Whose sources.
        root: The folder that their paths are relative to.
        cache: A JSON file that remembers hashes by path, size and time of change; None reads every file.

    Returns:
        64 hex digits, or None if a source is a database, whose content nobody can see from outside.

    Raises:
        InputError: If a file is missing or of an unknown kind.
    """
    known = _read_cache(cache)
    seen = {}
    digest = hashlib.sha256()
    for name, source in sorted(project.sources.items()):
        if source.path is None:
            return None
        for file in local_files(name, source, root):
            status = file.stat()
            key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
            content = known.get(key) or files.sha256(file)
            if time.time() - status.st_mtime > _SETTLED_S:
                seen[key] = content
            digest.update(
                f"{name}\0{file.relative_to(root) if file.is_relative_to(root) else file}\0{content}\n".encode()
            )
    if cache is not None and seen != known:
        files.write_json(cache, seen)
    return digest.hexdigest()


def _read_cache(cache: Path | None) -> dict[str, str]:
    try:
        return json.loads(cache.read_text(encoding="utf-8")) if cache else {}
    except (FileNotFoundError, ValueError):
        return {}
