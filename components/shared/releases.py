"""The endpoint's folder: which release answers, which one is on its way, and who serves them.

Everything the deployment step, the server and the command tell each other passes through this folder, in files that
are replaced whole. ``active.json`` names the release that answers; ``candidate.json`` is the journal of a release
under way; ``server.json`` says where the server listens, ``starting.json`` that one is about to.
"""

import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from components.shared import processes
from components.shared.errors import StepFailed
from components.shared.files import read_json, sha256

ACTIVE = "active.json"
CANDIDATE = "candidate.json"
SERVER = "server.json"
STARTING = "starting.json"
RELEASES = "releases"
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Server:
    """A running server: its process, and where it listens."""

    pid: int
    started: str | None
    rest_url: str
    grpc_address: str | None


@dataclass(frozen=True)
class Journal:
    """A release under way: what takes over, what answered before, and who is doing it.

    ``former`` is the release that answered, ``former_champion`` the version that had the alias; None where there was
    none. ``undoing`` says that the release failed and is being taken back, so that nobody finishes it.
    """

    name: str
    version: str
    former: str | None
    former_champion: str | None
    pid: int
    started: str | None
    undoing: bool = False

    @property
    def abandoned(self) -> bool:
        """Whether the process that wrote it is gone."""
        return not processes.alive(self.pid, self.started)


def active(endpoint: Path) -> str | None:
    """Return the version that answers, None before the first release."""
    found = _read(endpoint / ACTIVE)
    return None if found is None else str(found["version"])


def write_active(endpoint: Path, version: str | None) -> None:
    """Let a version answer (None: nothing)."""
    _replace(endpoint / ACTIVE, None if version is None else {"version": version})


def journal(endpoint: Path) -> Journal | None:
    """Return the release under way."""
    found = _read(endpoint / CANDIDATE)
    return None if found is None else Journal(**found)


def write_journal(endpoint: Path, entry: Journal | None) -> None:
    """Note the release under way (None: it is over)."""
    _replace(endpoint / CANDIDATE, None if entry is None else asdict(entry))


def mark_undoing(endpoint: Path, entry: Journal) -> None:
    """Note that a release is being taken back."""
    write_journal(endpoint, replace(entry, undoing=True))


def server(endpoint: Path) -> Server | None:
    """Return the server of this endpoint if its process lives; what a dead one left behind does not count."""
    found = _read(endpoint / SERVER)
    if found is None:
        return None
    known = Server(found["pid"], found.get("started"), found["rest_url"], found.get("grpc_address"))
    return known if processes.alive(known.pid, known.started) else None


def write_server(endpoint: Path, entry: Server | None) -> None:
    """Say where the server listens (None: it has ended)."""
    _replace(endpoint / SERVER, None if entry is None else asdict(entry))
    _replace(endpoint / STARTING, None)


def write_starting(endpoint: Path, pid: int) -> None:
    """Say that a process is about to serve this endpoint."""
    _replace(endpoint / STARTING, {"pid": pid, "started": processes.started(pid)})


def starting(endpoint: Path) -> bool:
    """Say whether a server is about to listen."""
    found = _read(endpoint / STARTING)
    return found is not None and processes.alive(found["pid"], found["started"])


def folder(endpoint: Path, version: str) -> Path:
    """Return where a version's manifests lie; a version that is no plain name is refused."""
    if not _VERSION.fullmatch(version):
        raise StepFailed(f"Release version {version!r} is no plain name; expected letters, digits, '.', '_' and '-'.")
    return endpoint / RELEASES / version


def install(release: Path, endpoint: Path, version: str) -> Path:
    """Copy a release into the endpoint, whole or not at all."""
    target = folder(endpoint, version)
    if target.is_dir() and sha256(target) == sha256(release):
        return target
    partial = target.with_name(f".{version}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(release, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target


def uninstall(endpoint: Path, version: str) -> None:
    """Remove a release that never came to answer."""
    shutil.rmtree(folder(endpoint, version), ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except ValueError as broken:
        raise StepFailed(f"{path} is not JSON ({broken}); remove it and release again.") from broken


def _replace(path: Path, value: dict[str, Any] | None) -> None:
    """Write a file so that a reader, or a power cut, sees either the old or the new content."""
    if value is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(value, sort_keys=True, indent=1) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
