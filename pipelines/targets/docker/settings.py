"""How a container of ours is run: as the caller, with nothing writable but the project's state, and no privilege."""

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared import telemetry
from components.shared.errors import InputError
from components.shared.package.integrity import SIGNING_KEY
from components.shared.project import Project
from pipelines.targets.local.limits import Limits
from pipelines.targets.model import Docker
from pipelines.targets.state import State

RUN = "perennial.run"
STATE = "perennial.state"
STEP = "perennial.step"
ENDPOINT = "perennial.endpoint"


@dataclass(frozen=True)
class Folder:
    """A folder of this machine that containers see under the same path."""

    path: Path
    read_only: bool

    @classmethod
    def parse(cls, mount: str) -> "Folder":
        """Read an entry of a target's ``mounts``.

        >>> Folder.parse("/data/tables:ro")
        Folder(path=PosixPath('/data/tables'), read_only=True)
        """
        path, separator, mode = mount.rpartition(":")
        if not separator or mode not in ("ro", "rw"):
            path, mode = mount, "rw"
        if not path.startswith("/"):
            raise InputError(f"mounts holds {mount!r}; expected an absolute folder, with ':ro' if it is only read.")
        return cls(Path(path), mode == "ro")

    def holds(self, path: Path) -> bool:
        """Say whether it contains a path, following links."""
        return path.resolve().is_relative_to(self.path.resolve())


def folders(target: Docker) -> list[Folder]:
    """Return the folders that a target's containers see."""
    return [Folder.parse(mount) for mount in target.mounts]


def check(target: Docker, project: Project, state: State) -> None:
    """Refuse before the first step what no container could reach.

    Raises:
        InputError: If a local source, or a file of a service, is outside the folders that containers see, or if the
            endpoint's folder is to be shared by those who don't see each other.
    """
    seen = folders(target)
    for name, source in project.sources.items():
        for path in _files(source.path, source.database):
            if not any(folder.holds(state.root / path) for folder in seen):
                raise InputError(
                    f"source {name!r}: {path} is outside the folders that containers see "
                    f"({', '.join(target.mounts)}); add its folder to 'mounts' of the target, with ':ro'."
                )
    written = {"registry": state.registry_uri.removeprefix("sqlite:///"), "studies": state.study_storage}
    for service, address in (written | {"endpoint": str(state.endpoint)}).items():
        if "://" not in address and not any(f.holds(Path(address)) for f in seen if not f.read_only):
            raise InputError(
                f"services.{service} is {address}, which no folder in 'mounts' lets containers write to "
                f"({', '.join(target.mounts)}); add its folder."
            )
    for key, value in (("network", target.network), ("pid", target.pid)):
        if value != "host":
            raise InputError(
                f"{key} is {value!r}, but the endpoint is a folder: its server listens on this machine's loopback "
                f"address and is known by its process number; expected {key}: host."
            )


def common(target: Docker, state: State, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that steps and the model server share, in the names of the Docker SDK."""
    from docker.types import Mount

    return {
        "user": f"{os.getuid()}:{os.getgid()}",
        "group_add": [str(group) for group in os.getgroups()],
        "read_only": True,
        "tmpfs": {"/tmp": "mode=1777"},
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "network_mode": target.network,
        "pid_mode": target.pid,
        "mounts": [Mount(str(f.path), str(f.path), type="bind", read_only=f.read_only) for f in folders(target)],
        "environment": {"USER": _user(), **telemetry.OFF, **environment},
        # The engine would keep a second copy of what goes to the run's logs.
        "log_config": {"Type": "none"},
        "labels": {STATE: str(state.folder)},
    }


def passed_on(target: Docker, project: Project, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that steps get: the sources' credentials, the signing key, the target's own."""
    names = {source.credentials_env for source in project.sources.values()} | {*target.pass_env}
    passed = {name: inherited[name] for name in sorted(filter(None, names)) if name in inherited}
    key = inherited.get(SIGNING_KEY, "").strip() if project.release.signed_by else ""
    if key:
        passed[SIGNING_KEY] = _key_itself(key)
    return passed


def _key_itself(text: str) -> str:
    """Return the key itself, which the caller may have given as the path of a file that containers cannot read."""
    file = Path(text).expanduser()
    if text.startswith("-----") or not file.is_file():
        return text
    return file.read_text(encoding="utf-8")


def within(limits: Limits, cpus_here: int) -> dict[str, Any]:
    """Return a step's limits in the names of the Docker SDK; more CPUs than the machine has are refused by engines."""
    settings: dict[str, Any] = {}
    if limits.cpus:
        settings["nano_cpus"] = int(min(limits.cpus, cpus_here) * 1e9)
    if limits.memory_bytes:
        settings |= {"mem_limit": limits.memory_bytes, "memswap_limit": limits.memory_bytes}
    return settings


def _files(path: str | None, database: str | None) -> list[str]:
    if path:
        return [path]
    kind, separator, file = (database or "").partition(":///")
    return [file] if separator and file and kind.partition("+")[0] in ("duckdb", "sqlite") else []


def _user() -> str:
    # Libraries ask for a name that the image's list of users can't give.
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
