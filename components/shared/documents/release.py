"""The registered version that a release brings to an endpoint: ``release.json``."""

from pathlib import Path
from typing import ClassVar, Self

from components.shared import files, relative
from components.shared.documents.document import Document

ARTIFACTS = "mlartifacts"
"""Folder beside a registry on this machine, with the artifacts of its runs and the packages of its versions."""


class RegisteredVersion(Document):
    """Which version of which model is to be released, and where its package is.

    Args:
        name: The registered model.
        version: Its version in the registry.
        storage_uri: Where the model package is. In a registry's folder on this machine it is found from the place of
            ``release.json``, so a project can be moved and copied.
        run_id: The MLflow run that made it.
        fingerprint: What identifies the same data, project, packages and weights.
        unchanged: Whether the version was the champion already when it was registered.
        manifest_sha256: SHA-256 of the package's manifest; None skips that one check.
        registration: Identifies the registration that wrote this document: a run that comes to the same version again
            has another one. None in older documents.
    """

    FILE: ClassVar[str] = "release.json"

    name: str
    version: str
    storage_uri: str
    run_id: str | None = None
    fingerprint: str | None = None
    unchanged: bool = False
    manifest_sha256: str | None = None
    registration: str | None = None

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read the document; see ``Document.read``."""
        release = super().read(path)
        return release.model_copy(update={"storage_uri": storage_here(release.storage_uri, cls.at(path))})


def storage_here(uri: str, file: Path) -> str:
    """Return where a package is now: the registry's folder may have been moved or copied with the file that names it.

    Args:
        uri: The package, as it was registered.
        file: The file of a release that names it.
    """
    here = relative.nearest(file, str(files.from_uri(uri)), ARTIFACTS) if uri.startswith("file:") else None
    return here.as_uri() if here else uri
