"""Bring a project's bundle and its local tables into the bucket that a server's steps read from, once, by content."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from components.shared import sources
from components.shared.errors import InputError
from components.shared.project import Project
from pipelines.targets.model import Storage

# Written last: a folder of tables without it was not uploaded to its end.
COMPLETE = ".complete"
FRESH = timedelta(hours=12)
"""What is older is written again when a run is about to read it: housekeeping leaves alone what is not much older."""


class StoredFile(NamedTuple):
    """A file in a bucket: its path (with the bucket's name), its size in bytes, and when it was written."""

    path: str
    bytes: int
    changed: datetime


class Bucket:
    """The bucket of a target, as this command reaches it."""

    def __init__(self, storage: Storage, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open it; credentials come from ``AWS_*`` (or ``GOOGLE_*``) variables.

        Args:
            storage: Its address.
            clock: Returns the present time, in UTC.

        Raises:
            InputError: If the address is none.
        """
        from pyarrow import fs

        self._clock = clock
        self.uri = storage.uri.rstrip("/")
        scheme, _, self._prefix = self.uri.partition("://")
        if scheme not in ("s3", "minio", "gs") or not self._prefix:
            raise InputError(
                f"storage.uri is {storage.uri!r}, expected s3://, minio:// or gs:// with a bucket and a prefix; "
                "correct it in the target file."
            )
        self._system: Any
        if scheme == "gs":
            address = urlsplit(storage.endpoint_url or "https://storage.googleapis.com")
            # Only an emulator speaks without TLS; it gets no credentials.
            self._system = fs.GcsFileSystem(
                anonymous=address.scheme == "http",
                scheme=address.scheme,
                endpoint_override=address.netloc if storage.endpoint_url else None,
                retry_time_limit=timedelta(seconds=30),
            )
        else:
            endpoint = storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
            self._system = fs.S3FileSystem(
                endpoint_override=endpoint,
                region=storage.region,
                retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
                connect_timeout=10,
            )

    def put_bundle(self, bundle: Path) -> str:
        """Upload a bundle, whose name says its content, unless it is there; return its address for the importer."""
        self._put(bundle, f"bundles/{bundle.name}", within=FRESH)
        return f"{self.uri}/bundles/{bundle.name}"

    def put_tables(self, project: Project, root: Path, source_hash: str) -> str:
        """Upload the files of all sources that have a path, unless they are there.

        Args:
            project: Whose sources.
            root: The folder that their paths are relative to.
            source_hash: Hash of their content, which names the folder in the bucket.

        Returns:
            The folder, as ingestion reads it.

        Raises:
            InputError: If a file is missing or the bucket refuses.
        """
        folder = f"tables/{source_hash}"
        if not self._there(f"{folder}/{COMPLETE}", within=FRESH):
            if not self._there(f"{folder}/{COMPLETE}"):
                for file, key in _files(project, root):
                    self._put(file, f"{folder}/{key}")
            with sources.bucket_errors(self.uri), self._writer(f"{folder}/{COMPLETE}") as stream:
                stream.write(b"\n")
        # Pods read tables with Arrow, which knows KFP's own scheme for S3 servers by its common name.
        return f"{self.uri}/{folder}".replace("minio://", "s3://", 1)

    def get(self, uri: str, target: Path) -> bool:
        """Copy a file, or all files of a folder, from any bucket of this server; return whether there is one.

        Raises:
            InputError: If the bucket refuses.
        """
        from pyarrow import fs

        path = uri.partition("://")[2]
        with sources.bucket_errors(uri):
            info = self._system.get_file_info(path)
            if info.type == fs.FileType.NotFound:
                return False
            files = [info] if info.is_file else self._system.get_file_info(fs.FileSelector(path, recursive=True))
            for file in (file for file in files if file.is_file):
                local_path = target / file.path.removeprefix(path).lstrip("/")
                # The name of an object is any text.
                if not local_path.resolve().is_relative_to(target.resolve()):
                    raise InputError(f"the bucket behind {uri} holds {file.path!r}, which leads elsewhere; remove it.")
                local_path.parent.mkdir(parents=True, exist_ok=True)
                with self._system.open_input_stream(file.path) as stream, local_path.open("wb") as written:
                    shutil.copyfileobj(stream, written)
        return True

    def names(self, uri: str) -> list[str]:
        """List the files of a folder of any bucket of this server; none if it does not exist.

        Raises:
            InputError: If the bucket refuses.
        """
        from pyarrow import fs

        selector = fs.FileSelector(uri.partition("://")[2], allow_not_found=True)
        with sources.bucket_errors(uri):
            return [info.base_name for info in self._system.get_file_info(selector) if info.is_file]

    def put(self, file: Path, uri: str) -> None:
        """Copy a file to a folder of any bucket of this server; it appears there when it is whole.

        Raises:
            InputError: If the bucket refuses.
        """
        path = f"{uri.partition('://')[2]}/{file.name}"
        with sources.bucket_errors(uri), self._system.open_output_stream(path) as stream:
            stream.write(file.read_bytes())

    def folder(self, uri: str) -> tuple[Any, str]:
        """Return the file system, and the path of a folder of any bucket of this server in it."""
        return self._system, uri.partition("://")[2].rstrip("/")

    def files(self, path: str) -> list[StoredFile]:
        """List a file, or all files of a folder, of any bucket of this server; none if it does not exist.

        Args:
            path: The bucket's name and the rest of the path.

        Raises:
            InputError: If the bucket refuses.
        """
        from pyarrow import fs

        with sources.bucket_errors(path):
            info = self._system.get_file_info(path)
            if not info.is_file:
                infos = self._system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
            else:
                infos = [info]
        return [StoredFile(info.path, info.size, info.mtime) for info in infos if info.is_file]

    def read(self, path: str) -> bytes:
        """Read a file, by its path as ``files`` gives it; raises InputError if the bucket refuses."""
        with sources.bucket_errors(path), self._system.open_input_stream(path) as stream:
            return bytes(stream.read())

    def write(self, uri: str, content: bytes) -> None:
        """Write a file; raises InputError if the bucket refuses."""
        with sources.bucket_errors(uri), self._system.open_output_stream(uri.partition("://")[2]) as stream:
            stream.write(content)

    def delete(self, path: str) -> None:
        """Delete a file, or a folder with all that it holds; what does not exist is deleted already.

        Raises:
            InputError: If the bucket refuses.
        """
        with sources.bucket_errors(path), contextlib.suppress(FileNotFoundError):
            if self._system.get_file_info(path).is_file:
                self._system.delete_file(path)
            else:
                self._system.delete_dir(path)

    def _put(self, file: Path, key: str, *, within: timedelta | None = None) -> None:
        """Upload a file unless one of its size is there; an object appears when all of it has arrived."""
        if self._there(key, file.stat().st_size, within=within):
            return
        with sources.bucket_errors(self.uri), file.open("rb") as stream, self._writer(key) as target:
            while chunk := stream.read(8 * io.DEFAULT_BUFFER_SIZE * 16):
                target.write(chunk)

    def _there(self, key: str, size: int | None = None, *, within: timedelta | None = None) -> bool:
        """Return whether an object exists, of this size and written no longer ago than that."""
        with sources.bucket_errors(self.uri):
            info = self._system.get_file_info(f"{self._prefix}/{key}")
        if not info.is_file or (size is not None and info.size != size):
            return False
        return within is None or self._clock() - info.mtime < within

    def _writer(self, key: str) -> Any:
        return self._system.open_output_stream(f"{self._prefix}/{key}")


def _files(project: Project, root: Path) -> Iterator[tuple[Path, str]]:
    """List the files of all sources with the keys under which ingestion looks for them."""
    for name, source in sorted(project.sources.items()):
        if source.path is not None:
            home = root / source.path
            for file in sources.local_files(name, source, root):
                inner = file.relative_to(home).as_posix() if file != home else ""
                yield file, f"{sources.key(source)}/{inner}".rstrip("/")


def unreachable(project: Project) -> Iterable[str]:
    """Name the sources that no pod can read: database files on this machine."""
    for name, source in sorted(project.sources.items()):
        if source.database is not None and source.database.startswith(("duckdb:///", "sqlite:///")):
            yield name
