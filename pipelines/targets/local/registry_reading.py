"""Read what the registry holds before and after a run, from the command's side.

MLflow takes seconds to import and to open its database, most of what a repeated run costs. What was read from a
database file is therefore stored with the hash of that file, and read from there until the file changes.
"""

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path

from components.shared import files, registry, registry_state
from components.shared.errors import StepFailed
from components.shared.registry_state import RegistryEntries, RegistryState
from pipelines.targets.state import State

_log = logging.getLogger(__name__)
_FILE_NAME = "registry.json"
# Beside a database file while a transaction is open, or after one was cut off: the file alone is not the truth then.
_TRANSACTION_SUFFIXES = ("-journal", "-wal")


def read(state: State, name: str) -> RegistryState | None:
    """Describe what the registry holds for a project; None if it can't be used, which the run's steps will explain.

    A registry that does not exist yet is created by the run. MLflow is imported in the background then: that takes
    seconds, and the command needs it after the run.
    """
    if not state.registry_exists:
        threading.Thread(target=registry.load_library, daemon=True).start()
        return registry_state.empty()
    version = _database_version(state.registry_file, name)
    stored = _stored(state.folder / _FILE_NAME, version)
    if stored is not None:
        return registry_state.describe(stored)
    try:
        entries = registry_state.read_entries(registry.open(state.registry_uri), name)
    except StepFailed as reason:
        _log.info("the registry can't be read before the run: %s", reason)
        return None
    # Opening the database may have upgraded it, and another process may have written to it since.
    if version is not None and version == _database_version(state.registry_file, name):
        files.write_json(state.folder / _FILE_NAME, {"version": version, "entries": asdict(entries)})
    return registry_state.describe(entries)


def _database_version(database: Path | None, name: str) -> str | None:
    """Hash a database file that no transaction is changing, with the project's name; None for any other registry."""
    if database is None or any(Path(f"{database}{suffix}").exists() for suffix in _TRANSACTION_SUFFIXES):
        return None
    return files.digest([str(database), files.sha256(database), name])


def _stored(path: Path, version: str | None) -> RegistryEntries | None:
    """Return what was stored for this version of the database; a missing or damaged file counts as nothing stored."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return RegistryEntries(**content["entries"]) if version is not None and content["version"] == version else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
