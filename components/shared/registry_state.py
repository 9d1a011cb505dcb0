"""What the registry holds that a run depends on, as one digest: the champion, and the last accepted data.

A run that starts while the digest is the same finds the same champion and the same statistics, so what it computed from
them before is still right.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.shared import files, registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Artifacts that lie on this machine may be edited or lost there; those of a server are taken as written once.
_FILE = "file://"
_NOTHING: dict[str, object] = {"champion": None, "accepted": None}


@dataclass(frozen=True)
class RegistryState:
    """The champion's version (None before the first release), and the digest of all that a run depends on."""

    champion: str | None
    digest: str


def empty() -> RegistryState:
    """Describe a registry that holds nothing for the project, or does not exist yet."""
    return RegistryState(None, files.digest(_NOTHING))


def read(client: "MlflowClient", name: str) -> RegistryState:
    """Describe what the registry holds for a project.

    The digest covers the champion's version and tags, the last accepted run, and the files of both as far as they lie
    on this machine. It changes when an alias moves, a version or a run is deleted, or one of these files is edited.

    Args:
        client: The registry.
        name: The project's name.
    """
    version = registry.version_by_alias(client, name, registry.CHAMPION)
    accepted = registry.last_accepted(client, name)
    facts = dict(_NOTHING)
    if version is not None:
        facts["champion"] = [str(version.version), version.run_id, version.tags, _content(str(version.source))]
    if accepted is not None:
        statistics = f"{accepted.info.artifact_uri}/statistics"
        facts["accepted"] = [accepted.info.run_id, accepted.data.tags.get(registry.SNAPSHOT), _content(statistics)]
    return RegistryState(str(version.version) if version else None, files.digest(facts))


def _content(uri: str) -> str:
    """Hash the files of an artifact folder on this machine; elsewhere, its address has to do."""
    return files.sha256(files.from_uri(uri)) if uri.startswith(_FILE) else uri
