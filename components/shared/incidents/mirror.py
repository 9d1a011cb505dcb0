"""Incidents and messages that are kept in a bucket: copied to this machine, changed here, and brought back.

Each is a small file of its own, so two that are changed at the same time do not disturb each other.
"""

from pathlib import Path, PurePosixPath
from typing import Any

from components.shared import sources
from components.shared.errors import InputError
from components.shared.incidents.folders import IncidentFolders

_NOT_KEPT = ("lock",)
_OUTBOX = "outbox"


class Mirror:
    """A folder of this machine with the files of a folder in a bucket.

    Args:
        system: The bucket's file system.
        prefix: The folder in it.
        uri: How messages name it.
        folder: An empty folder, or one that was a mirror of the same before.
    """

    def __init__(self, system: Any, prefix: str, uri: str, folder: Path) -> None:
        self._system, self._prefix, self._uri, self.folder = system, prefix.rstrip("/"), uri, folder
        self._there: dict[str, bytes] = {}

    @property
    def folders(self) -> IncidentFolders:
        """Where the copies are."""
        return IncidentFolders(self.folder / "incidents", self.folder / _OUTBOX, self.folder)

    def fetch(self) -> None:
        """Copy all files here.

        Raises:
            InputError: If the bucket refuses, or holds a name that leads out of the folder.
            StepFailed: If it does not answer.
        """
        from pyarrow import fs

        selector = fs.FileSelector(self._prefix, recursive=True, allow_not_found=True)
        with sources.bucket_errors(self._uri):
            for info in self._system.get_file_info(selector):
                if info.is_file:
                    name = PurePosixPath(info.path).relative_to(self._prefix).as_posix()
                    self._check(name)
                    with self._system.open_input_stream(info.path) as stream:
                        self._there[name] = stream.read()
        for name, content in self._there.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def publish(self) -> None:
        """Bring what has changed here back, and delete there what is gone here.

        Raises:
            InputError, StepFailed: If the bucket refuses, or does not answer.
        """
        here = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in _NOT_KEPT
        }
        with sources.bucket_errors(self._uri):
            # Messages first: an incident without its message would never be told.
            for name in sorted(here, key=lambda name: (not name.startswith(_OUTBOX), name)):
                if self._there.get(name) != here[name]:
                    self._write(name, here[name])
            for name in self._there.keys() - here.keys():
                self._delete(name)
        self._there = here

    def _check(self, name: str) -> None:
        """Refuse a name that leads out of the folder; that of an object is any text."""
        if not (self.folder / name).resolve().is_relative_to(self.folder.resolve()):
            raise InputError(f"{self._uri} holds {name!r}, which leads elsewhere; remove it.")

    def _delete(self, name: str) -> None:
        """Delete what was copied here; what somebody else has written under the same name meanwhile stays."""
        from pyarrow import fs

        path = f"{self._prefix}/{name}"
        if self._system.get_file_info(path).type == fs.FileType.NotFound:
            return
        with self._system.open_input_stream(path) as stream:
            content = stream.read()
        if content == self._there[name]:
            self._system.delete_file(path)

    def _write(self, name: str, content: bytes) -> None:
        from pyarrow import fs

        path = f"{self._prefix}/{name}"
        if isinstance(self._system, fs.LocalFileSystem):
            self._system.create_dir(str(PurePosixPath(path).parent), recursive=True)
        with self._system.open_output_stream(path) as stream:
            stream.write(content)
