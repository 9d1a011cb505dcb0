"""The registered version that a release brings to an endpoint: ``release.json``."""

from typing import ClassVar

from components.shared.documents.document import Document


class RegisteredVersion(Document):
    """Which version of which model is to be released, and where its package is.

    Args:
        name: The registered model.
        version: Its version in the registry.
        storage_uri: Where the model package is.
        run_id: The MLflow run that made it.
        fingerprint: What identifies the same data, project, packages and weights.
        unchanged: Whether the version was the champion already when it was registered.
        manifest_sha256: SHA-256 of the package's manifest; None skips that one check.
    """

    FILE: ClassVar[str] = "release.json"

    name: str
    version: str
    storage_uri: str
    run_id: str | None = None
    fingerprint: str | None = None
    unchanged: bool = False
    manifest_sha256: str | None = None
