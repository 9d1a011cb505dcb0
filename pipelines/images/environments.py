"""From a lock and a source to what a task runs in, without Docker: a virtualenv, and a snapshot of the source.

A virtualenv is keyed by lock, Python and platform; it is in the user's cache, outlives the checkout and is shared by
all projects. The source of a step is an immutable snapshot next to it, so an edit neither rebuilds a virtualenv nor
leaks into a running task. A snapshot holds exactly what the step needs at run time (see ``closure``).
"""

import contextlib
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import filelock
import platformdirs

from components.shared.errors import InputError, StepFailed
from pipelines.images.recipes import ROOT, Recipe, python_and_platform, recipe, steps

__all__ = [
    "ROOT", "Environment", "cache_folder", "check_platform", "last_used", "lock_hash", "lock_of", "prepare", "snapshot",
    "steps", "virtualenv",
]  # fmt: skip

_COMPLETE = ".complete"


@dataclass(frozen=True)
class Environment:
    """Where a task runs: an interpreter with the locked packages, and the snapshot of the source."""

    name: str
    reference: str
    python: Path
    source: Path


def cache_folder() -> Path:
    """Return the folder that outlives every checkout (``$XDG_CACHE_HOME/perennial``)."""
    return Path(platformdirs.user_cache_dir("perennial"))


def lock_of(name: str) -> Path:
    """Return the hashed lock of an image, such as a step's or that of ``serving``."""
    return ROOT / recipe(name).lock


def lock_hash(name: str) -> str:
    """Hash what is installed for a step, or for ``serving``."""
    return recipe(name).lock_hash


def prepare(names: Iterable[str], announce: Callable[[str], None] | None = None) -> dict[str, Environment]:
    """Build what is missing and return the environment of each name.

    Args:
        names: Steps, or ``serving``.
        announce: Called with a name before its virtualenv is installed.

    Raises:
        InputError: If there are no wheels for this platform.
        StepFailed: If uv could not install a lock.
    """
    check_platform()
    environments = {}
    for name in names:
        python = virtualenv(lock_of(name), announce=announce, name=name)
        contents = recipe(name)
        environments[name] = Environment(name, contents.reference(None), python, _snapshot(contents))
    return environments


def check_platform() -> None:
    """Refuse a platform on which the steps can't run, neither as processes nor as containers.

    Raises:
        InputError: Anywhere but on Linux x86-64.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise InputError(
            "tensorflow-cpu and tensorflow-data-validation have wheels for Linux x86-64 only, this is "
            f"{platform.system()} {platform.machine()}; use such a machine (also for --target docker, whose containers "
            "share network and process numbers with it), or a cluster: perennial submit."
        )


def virtualenv(*locks: Path, announce: Callable[[str], None] | None = None, name: str = "") -> Path:
    """Return the interpreter of the virtualenv that holds exactly these hashed locks; build it if absent.

    Later locks win where two pin the same package.
    """
    key = hashlib.sha256(python_and_platform().encode())
    for lock in locks:
        key.update(hashlib.sha256(lock.read_bytes()).digest())
    folder = cache_folder() / "virtualenvs" / key.hexdigest()[:16]
    python = folder / "bin" / "python3"
    if _use(folder):
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if (folder / _COMPLETE).exists():
            return python
        if announce:
            announce(name)
        shutil.rmtree(folder, ignore_errors=True)
        _uv("venv", "--quiet", "--no-project", "--python", _base_python(), str(folder))
        for lock in locks:
            install = ("pip", "install", "--quiet", "--python", str(python), "--no-deps", "--require-hashes")
            _uv(*install, "--requirement", str(lock))
        (folder / _COMPLETE).touch()
    return python


def snapshot(name: str) -> Path:
    """Copy the source of a step into the cache, read-only, named by its content; return the folder to import from."""
    return _snapshot(recipe(name))


def _snapshot(contents: Recipe) -> Path:
    folder = cache_folder() / "sources" / f"{contents.name}-{contents.source_hash[:16]}"
    if _use(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{folder}.lock"):
        if not (folder / _COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            for path in contents.source:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / path, target)
                target.chmod(0o444)
            (folder / _COMPLETE).touch()
    return folder


def last_used(folder: Path) -> float:
    """Return when a virtualenv or snapshot was last handed out (seconds since the epoch; 0 if never completed)."""
    mark = folder / _COMPLETE
    return mark.stat().st_mtime if mark.exists() else 0.0


def _use(folder: Path) -> bool:
    """Say whether a folder of the cache is complete, and note that it was used."""
    mark = folder / _COMPLETE
    if not mark.exists():
        return False
    # A cache that others fill may be read-only; then nobody collects it here either.
    with contextlib.suppress(OSError):
        mark.touch()
    return True


def _base_python() -> str:
    # The interpreter below our own virtualenv, so that all virtualenvs of a machine share one Python.
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def _uv(*arguments: str) -> None:
    uv = Path(sys.executable).parent / "uv"
    done = subprocess.run([str(uv), *arguments], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-3:] or ["no message"]
        raise StepFailed(
            f"uv {arguments[0]} failed: {' '.join(' '.join(last).split())}; check the network and the disk."
        )
