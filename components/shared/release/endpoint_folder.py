"""The folder of a local endpoint: the releases in it, and the server that follows it.

What the deployment step, the server and the command share passes through files here that are replaced atomically:
``routing.json`` says which versions answer, ``journal.json`` which release is under way, ``server.json`` where the
server listens. That there is a server says only its lock on ``server.lock``: a copy of the folder has all files of the
original, but not its lock.
"""

import contextlib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, TextIO

from components.shared import polling
from components.shared.documents.document import Document
from components.shared.errors import InputError, StepFailed
from components.shared.files import sha256

RELEASES = "releases"
_LOCK = "server.lock"
_LOOK_S = 0.5
_POLL_S = 0.01
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class EndpointServer(Document):
    """A running server.

    Args:
        pid: Its process.
        started: When the process started, in ticks since boot; pid and start are unique together.
        rest_url: Where it answers HTTP.
        grpc_address: Where it answers gRPC; None where it does not.
        key: The token of the commands on this machine; None where no token is needed.
    """

    FILE: ClassVar[str] = "server.json"

    pid: int
    started: str | None = None
    rest_url: str
    grpc_address: str | None = None
    key: str | None = None

    @property
    def url(self) -> str:
        """The address for ``inference.call``, with the key; not to be shown."""
        return self.rest_url if self.key is None else self.rest_url.replace("://", f"://{self.key}@", 1)


@contextlib.contextmanager
def serving(endpoint: Path) -> Iterator[None]:
    """Hold the folder as its server, until the context is left or the process ends, even by SIGKILL.

    Raises:
        InputError: If another process holds it.
    """
    with (endpoint / _LOCK).open("a") as lock:
        # Whoever looks holds the lock for a moment.
        if not polling.within(lambda: _take(lock, fcntl.LOCK_EX), _LOOK_S, _POLL_S):
            other = server(endpoint)
            who = f"process {other.pid} at {other.rest_url}" if other else "a process that is starting or ending"
            raise InputError(f"the endpoint {endpoint} is served already by {who}; stop that one first.")
        write_server(endpoint, None)
        try:
            yield
        finally:
            write_server(endpoint, None)


def server(endpoint: Path) -> EndpointServer | None:
    """Return the server of this endpoint: it holds the folder and has written where it listens."""
    try:
        running = EndpointServer.read(endpoint / EndpointServer.FILE)
    except FileNotFoundError:
        return None
    return running if _is_held(endpoint) else None


def write_server(endpoint: Path, running: EndpointServer | None) -> None:
    """Write where the server listens (None: it has ended, or does not listen yet)."""
    if running is None:
        (endpoint / EndpointServer.FILE).unlink(missing_ok=True)
    else:
        # Only this account may read the key.
        (endpoint / EndpointServer.FILE).unlink(missing_ok=True)
        before = os.umask(0o077)
        try:
            running.write(endpoint / EndpointServer.FILE)
        finally:
            os.umask(before)


def starting(endpoint: Path) -> bool:
    """Return whether a server holds the folder that does not listen yet, or no longer does."""
    return _is_held(endpoint) and not (endpoint / EndpointServer.FILE).exists()


def _is_held(endpoint: Path) -> bool:
    try:
        with (endpoint / _LOCK).open() as lock:
            return not _take(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def _take(lock: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release_folder(endpoint: Path, version: str) -> Path:
    """Return the folder of a version's manifests.

    Raises:
        StepFailed: If the version could leave the folder, or is no name of a file.
    """
    if not _VERSION.fullmatch(version):
        raise StepFailed(
            f"release version {version!r} is not a plain name; expected letters, digits, '.', '_' and '-'."
        )
    return endpoint / RELEASES / version


def install(release: Path, endpoint: Path, version: str) -> Path:
    """Copy a release into the endpoint, whole or not at all."""
    target = release_folder(endpoint, version)
    if target.is_dir() and sha256(target) == sha256(release):
        return target
    partial = target.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(release, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def uninstall(endpoint: Path, version: str) -> None:
    """Remove a release that never answered."""
    shutil.rmtree(release_folder(endpoint, version), ignore_errors=True)
