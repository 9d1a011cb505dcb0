"""Locate the files of a project's sources, copy them from a bucket, and hash their content."""

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from components.shared import files
from components.shared.errors import InputError, StepFailed, is_disk_full
from components.shared.project import Project, Source
from components.shared.sql import literal

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
# A file that was written within this many seconds may change again without a new modification time.
_SETTLED_S = 2.0
# The wording of Arrow's clients of S3 and Google Cloud Storage, and of the system.
_UNREACHABLE = re.compile(r"NETWORK_CONNECTION|curlCode|Connection refused|connect to|[Tt]imed out|resolve host")


def is_text(source: Source) -> bool:
    """Return whether the source is a CSV file."""
    return source.path is not None and source.path.lower().endswith(TEXT_SUFFIXES)


def stem(file: Path) -> str:
    """Return the name of a table's file without its suffix, of which ``.csv.gz`` is one.

    >>> stem(Path("shop.csv.gz")), stem(Path("shop.2024.parquet"))
    ('shop', 'shop.2024')
    """
    suffix = next((suffix for suffix in TEXT_SUFFIXES if file.name.lower().endswith(suffix)), file.suffix)
    return file.name[: len(file.name) - len(suffix)]


def local_files(name: str, source: Source, root: Path) -> list[Path]:
    """List the files of a source that has a path: one CSV or parquet file, or the parquet files of a folder.

    Raises:
        InputError: If the file does not exist or is of another type.
    """
    path = root / str(source.path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_part(file, path))
        if not files:
            raise InputError(
                f"source '{name}': the folder {source.path} has no parquet file; expected at least one file that ends "
                f"with {' or '.join(PARQUET_SUFFIXES)}. Write the table there or change 'path' in the project file."
            )
        return files
    if not path.is_file():
        raise InputError(
            f"source '{name}': the file {source.path} does not exist in {root}; expected a CSV or parquet file. "
            "Create the file or change 'path' in the project file."
        )
    if not path.name.lower().endswith((*TEXT_SUFFIXES, *PARQUET_SUFFIXES)):
        raise InputError(
            f"source '{name}': {source.path} ends with {path.suffix or 'nothing'!r}; expected "
            f"{', '.join((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))}. Convert the table or rename the file."
        )
    return [path]


def _is_part(file: Path, folder: Path) -> bool:
    """Return whether a file belongs to the table of a folder.

    What starts with a dot or an underscore does not: hidden files, and what Spark and Hive write beside the data
    (``_temporary/``, ``_SUCCESS``, ``_metadata``).
    """
    parts = file.relative_to(folder).parts
    is_data = file.name.lower().endswith(PARQUET_SUFFIXES) and file.is_file()
    return is_data and not any(part.startswith((".", "_")) for part in parts)


def parquet_relation(paths: Sequence[Path]) -> str:
    """Return SQL that reads parquet files as one table; columns that only some of them have are missing in the others.

    >>> parquet_relation([Path("/t/a[1].parquet")])
    "read_parquet(['/t/a[[]1].parquet'], union_by_name=true)"
    """
    # DuckDB would expand a name with one of these characters as a pattern.
    escaped = (re.sub(r"([*?\[])", r"[\1]", str(path)) for path in paths)
    return f"read_parquet([{', '.join(map(literal, escaped))}], union_by_name=true)"


def is_remote(root: str) -> bool:
    """Return whether a folder of sources is in a bucket.

    >>> is_remote("s3://bucket/tables"), is_remote("/srv/churn")
    (True, False)
    """
    return "://" in root


def key(source: Source) -> str:
    """Return the key of a source's file or folder below a bucket's prefix; it never leaves the prefix.

    >>> key(Source(path="data/labels.csv")), key(Source(path="/srv/../labels.csv"))
    ('data/labels.csv', 'srv/__/labels.csv')
    """
    parts = PurePosixPath(str(source.path)).parts
    return "/".join("__" if part == ".." else part for part in parts if part != "/")


def bucket(uri: str) -> tuple[Any, str]:
    """Open the file system of an ``s3://`` or ``gs://`` URI; return it with the path inside it.

    Credentials, region and endpoint come from the environment (``AWS_*`` and ``GOOGLE_*``).

    Raises:
        InputError: If the URI is invalid.
    """
    from pyarrow import fs

    with bucket_errors(uri):
        file_system, path = fs.FileSystem.from_uri(uri.rstrip("/"))
    return file_system, str(path)


def fetch(project: Project, root: str, folder: Path) -> Project:
    """Copy every source that has a path from a bucket.

    Args:
        project: The project whose sources are copied.
        root: ``s3://bucket/prefix`` or ``gs://bucket/prefix``; ``key`` defines the key of each source below it.
        folder: Destination; created if absent.

    Returns:
        The project, with the paths of its sources relative to ``folder``.

    Raises:
        InputError: If the bucket rejects the request or lacks a source.
        StepFailed: If it does not answer.
    """
    system, prefix = bucket(root)
    copied = {}
    for name, source in sorted(project.sources.items()):
        if source.path is not None:
            with bucket_errors(root, name):
                _fetch_one(name, key(source), system, prefix, root, folder)
            source = source.model_copy(update={"path": key(source)})
        copied[name] = source
    return project.model_copy(update={"sources": copied})


def _fetch_one(name: str, path: str, system: Any, prefix: str, root: str, folder: Path) -> None:
    from pyarrow import fs

    info = system.get_file_info(f"{prefix}/{path}")
    if info.type == fs.FileType.NotFound:
        raise InputError(
            f"source '{name}': {path} does not exist in {root}; expected a CSV or parquet file, or a folder of parquet "
            "files. Upload the table or change 'path' in the project file."
        )
    files = [info]
    if info.type == fs.FileType.Directory:
        files = system.get_file_info(fs.FileSelector(info.path, recursive=True))
        (folder / path).mkdir(parents=True, exist_ok=True)
    for file in files:
        if file.type == fs.FileType.File:
            target = folder / PurePosixPath(file.path).relative_to(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            fs.copy_files(file.path, str(target), source_filesystem=system, destination_filesystem=fs.LocalFileSystem())


@contextlib.contextmanager
def bucket_errors(uri: str, name: str | None = None) -> Iterator[None]:
    """Convert the errors of a bucket to one-sentence messages.

    Args:
        uri: The URI that is read or written.
        name: The source that the URI belongs to, if any.

    Raises:
        InputError: If the address is wrong, or the bucket rejects the request or lacks the file.
        StepFailed: If the bucket does not answer.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as problem:
        if is_disk_full(problem):
            raise
        reason = " ".join(str(problem).split()).rstrip(".")
        failure = StepFailed if _UNREACHABLE.search(reason) else InputError
        raise failure(
            f"{f'source {name!r}: ' if name else ''}cannot access {uri} ({reason}); "
            "check the address, the credentials and AWS_ENDPOINT_URL."
        ) from None


def source_hash(project: Project, root: Path, cache: Path | None = None) -> str | None:
    """Hash the content of all local source files, so that KFP's cache never returns an outdated ingestion.

    Args:
        project: The project whose sources are hashed.
        root: The folder that their paths are relative to.
        cache: A JSON file that stores hashes by path, size and modification time; None reads every file.

    Returns:
        64 hex digits, or None if a source is a database, because a change of its content cannot be detected.

    Raises:
        InputError: If a file does not exist or is of an unknown type.
    """
    cached = _read_cache(cache)
    current = {}
    digest = hashlib.sha256()
    for name, source in sorted(project.sources.items()):
        if source.path is None:
            return None
        for file in local_files(name, source, root):
            status = file.stat()
            key = f"{file.resolve()}|{status.st_size}|{status.st_mtime_ns}"
            content = cached.get(key) or files.sha256(file)
            if time.time() - status.st_mtime > _SETTLED_S:
                current[key] = content
            digest.update(
                f"{name}\0{file.relative_to(root) if file.is_relative_to(root) else file}\0{content}\n".encode()
            )
    if cache is not None and current != cached:
        files.write_json(cache, current)
    return digest.hexdigest()


def _read_cache(cache: Path | None) -> dict[str, str]:
    try:
        return json.loads(cache.read_text(encoding="utf-8")) if cache else {}
    except (FileNotFoundError, ValueError):
        return {}
