"""infra/images.lock: the digests that registries answered with."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from components.shared import files
from pipelines.images import environments
from pipelines.images.recipes import reference, repository

LOCK = environments.ROOT / "infra" / "images.lock"
_HEADER = "# What registries answered with, by 'perennial images lock'; a compile for one of them uses these digests.\n"


def read(path: Path = LOCK) -> dict[str, str]:
    """Return reference to digest (``sha256:...``)."""
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def write(digests: Mapping[str, str], path: Path = LOCK) -> None:
    """Write digests down; what is kept of another registry or image stays, a former tag of the same goes."""
    replaced = {target.rpartition(":")[0] for target in digests}
    others = {target: digest for target, digest in read(path).items() if target.rpartition(":")[0] not in replaced}
    files.write_text(path, _HEADER + yaml.safe_dump(others | dict(digests), width=1000))


def pinned(name: str, base: str, registry: str = "", path: Path = LOCK) -> str:
    """Return ``repository@digest`` where the lock has the image as it is now, else its content-addressed name."""
    target = reference(name, base, registry)
    digest = read(path).get(target)
    return f"{repository(name, registry)}@{digest}" if digest else target
