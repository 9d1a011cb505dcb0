"""The folder of a local endpoint: the releases in it, and the server that follows it.

What the deployment step, the server and the command share passes through files here that are replaced atomically:
``routing.json`` says which versions answer, ``journal.json`` which release is under way, ``server.json`` where the
server listens, ``starting.json`` that one is about to.
"""

import re
import shutil
from pathlib import Path
from typing import ClassVar

from components.shared import processes
from components.shared.documents.document import Document
from components.shared.errors import StepFailed
from components.shared.files import sha256

RELEASES = "releases"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class EndpointServer(Document):
    """A running server.

    Args:
        pid: Its process.
        started: When the process started, in ticks since boot; pid and start are unique together.
        rest_url: Where it answers HTTP.
        grpc_address: Where it answers gRPC; None where it does not.
    """

    FILE: ClassVar[str] = "server.json"

    pid: int
    started: str | None = None
    rest_url: str
    grpc_address: str | None = None


class StartingServer(Document):
    """A process that is about to serve the endpoint."""

    FILE: ClassVar[str] = "starting.json"

    pid: int
    started: str | None = None


def server(endpoint: Path) -> EndpointServer | None:
    """Return the server of this endpoint if its process is alive; the file of a dead one is ignored."""
    try:
        running = EndpointServer.read(endpoint / EndpointServer.FILE)
    except FileNotFoundError:
        return None
    return running if processes.alive(running.pid, running.started) else None


def write_server(endpoint: Path, running: EndpointServer | None) -> None:
    """Write where the server listens (None: it has ended)."""
    if running is None:
        (endpoint / EndpointServer.FILE).unlink(missing_ok=True)
    else:
        running.write(endpoint / EndpointServer.FILE)
    (endpoint / StartingServer.FILE).unlink(missing_ok=True)


def write_starting(endpoint: Path, pid: int) -> None:
    """Write that a process is about to serve this endpoint."""
    StartingServer(pid=pid, started=processes.started(pid)).write(endpoint / StartingServer.FILE)


def starting(endpoint: Path) -> bool:
    """Return whether a server is about to listen."""
    try:
        process = StartingServer.read(endpoint / StartingServer.FILE)
    except FileNotFoundError:
        return False
    return processes.alive(process.pid, process.started)


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
