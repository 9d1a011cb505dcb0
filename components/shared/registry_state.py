"""What the registry holds that a run depends on, as one digest: the champion, and the last accepted data.

A run that starts while the digest is the same finds the same champion and the same statistics, so what it computed from
them before is still right.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from components.shared import files, registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Artifacts on this machine may be edited or lost there; those of a server are taken as written once.
_FILE = "file://"


@dataclass(frozen=True)
class RegistryEntries:
    """What MLflow's database says about a project's champion and its last accepted data; None where there is none.

    ``champion`` is version, run id, tags and address of the model; ``accepted`` is run id, snapshot and address of the
    statistics. All of it is JSON.
    """

    champion: list[Any] | None = None
    accepted: list[Any] | None = None


@dataclass(frozen=True)
class RegistryState:
    """The champion's version (None before the first release), and the digest of all that a run depends on."""

    champion: str | None
    digest: str


def empty() -> RegistryState:
    """Describe a registry that holds nothing for the project, or does not exist yet."""
    return describe(RegistryEntries())


def read(client: "MlflowClient", name: str) -> RegistryState:
    """Describe what the registry holds for a project.

    Args:
        client: The registry.
        name: The project's name.
    """
    return describe(read_entries(client, name))


def read_entries(client: "MlflowClient", name: str) -> RegistryEntries:
    """Ask the registry's database for the champion and the last accepted run of a project."""
    version = registry.version_by_alias(client, name, registry.CHAMPION)
    accepted = registry.last_accepted(client, name)
    champion = [str(version.version), version.run_id, dict(version.tags), str(version.source)] if version else None
    if accepted is None:
        return RegistryEntries(champion)
    snapshot, statistics = accepted.data.tags.get(registry.SNAPSHOT), f"{accepted.info.artifact_uri}/statistics"
    return RegistryEntries(champion, [accepted.info.run_id, snapshot, statistics])


def describe(entries: RegistryEntries) -> RegistryState:
    """Complete the database's entries to a digest.

    The digest covers the champion's version and tags, the last accepted run, and the files of both as far as they are
    on this machine. It changes when an alias moves, a version or a run is deleted, or one of these files is edited.
    """
    facts = {name: entry and [*entry[:-1], _content(entry[-1])] for name, entry in asdict(entries).items()}
    return RegistryState(entries.champion[0] if entries.champion else None, files.digest(facts))


def _content(uri: str) -> str:
    """Hash the files of an artifact folder on this machine; elsewhere, its address has to do."""
    return files.sha256(files.from_uri(uri)) if uri.startswith(_FILE) else uri
