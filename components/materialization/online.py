"""The online store: Feast's SQLite in a folder, or Redis.

Feast finds a value by the name of its own project, the view and the serialized entity, so whoever writes and whoever
reads must agree on the project's name and on the version of the serialization. A folder holds its own
``feature_store.yaml``, which ``feast serve`` reads. For Redis, the address names the project of the feature server.
"""

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from feast import FeatureStore

from components.shared import files
from components.shared.errors import InputError

# The version that infra/base/services/feature_store.yaml names.
SERIALIZATION = 3
PASSWORD = "REDIS_PASSWORD"
"""Environment variable with the password of a Redis server."""


def open_store(address: str, repo: Path, scratch: Path) -> FeatureStore:
    """Open Feast on an online store.

    Args:
        address: A folder, created if absent, or ``redis://host:port[/db]?project=name[&ssl=true]``.
        repo: The project's feature repository.
        scratch: A folder for a temporary registry.

    Raises:
        InputError: If the address is not valid.
    """
    if address.startswith("redis://"):
        return _opened(scratch, _redis(address, _settings(repo)) | {"registry": str(scratch / "registry.db")})
    if "://" in address:
        raise InputError(
            f"services.online_store is {address!r}; expected a folder or redis://host:port?project=name. "
            "Correct it in the target file."
        )
    folder = Path(address)
    folder.mkdir(parents=True, exist_ok=True)
    # Feast's server of this folder reads the views from the registry, people from the file.
    shutil.copyfile(repo / "features.py", folder / "features.py")
    store = {"online_store": {"type": "sqlite", "path": "online.db"}, "registry": "registry.db"}
    return _opened(folder, _settings(repo) | store)


def public(address: str) -> str:
    """Return an address without what an URL may hold of a login.

    >>> public("redis://:secret@redis:6379?project=churn")
    'redis://redis:6379?project=churn'
    """
    scheme, separator, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else address


def _settings(repo: Path) -> dict[str, Any]:
    """Read the name of Feast's project; the rest of the settings is the store's own."""
    file = repo / "feature_store.yaml"
    if not file.is_file():
        raise InputError("feature_repo/feature_store.yaml does not exist; expected Feast's settings. Create it.")
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    return {
        "project": settings["project"],
        "provider": "local",
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": settings.get("entity_key_serialization_version", SERIALIZATION),
    }


def _redis(address: str, settings: dict[str, Any]) -> dict[str, Any]:
    url = urlsplit(address)
    options = parse_qs(url.query)
    if unknown := sorted(set(options) - {"project", "ssl"}):
        raise InputError(f"services.online_store {public(address)!r} has the options {unknown}; expected project, ssl.")
    if url.hostname is None:
        raise InputError(f"services.online_store {public(address)!r} names no host; expected redis://host:port.")
    parts = [f"{url.hostname}:{url.port or 6379}"]
    parts += [f"db={url.path.strip('/')}"] if url.path.strip("/") else []
    parts += ["ssl=true"] if options.get("ssl") == ["true"] else []
    password = os.environ.get(PASSWORD) or url.password
    parts += [f"password={password}"] if password else []
    project = options.get("project", [settings["project"]])[0]
    store = {"type": "redis", "connection_string": ",".join(parts)}
    return settings | {"project": project, "online_store": store, "entity_key_serialization_version": SERIALIZATION}


def _opened(folder: Path, settings: dict[str, Any]) -> FeatureStore:
    files.write_text(folder / "feature_store.yaml", yaml.safe_dump(settings, sort_keys=True))
    return FeatureStore(repo_path=str(folder))
