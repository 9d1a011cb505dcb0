"""The folder in Cloud Storage that Vertex AI reads a version's package from."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared import registry
from components.shared.cloud_storage import CloudStorage
from components.shared.documents.release import RegisteredVersion
from components.shared.files import from_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient


class PackageStore:
    """Packages below one prefix, by model, version and content.

    Args:
        storage: Cloud Storage.
        prefix: ``gs://bucket/prefix``
        client: The registry, which has the packages.
    """

    def __init__(self, storage: CloudStorage, prefix: str, client: "MlflowClient") -> None:
        self._storage, self._prefix, self._client = storage, prefix.rstrip("/"), client

    def uri(self, release: RegisteredVersion) -> str:
        """Return where Vertex AI finds a package: in the registry's own bucket if that is one of Google's.

        Raises:
            PerennialError: If the package cannot be read, or not be copied.
        """
        if release.storage_uri.startswith("gs://"):
            return release.storage_uri.rstrip("/")
        content = (release.manifest_sha256 or "unsealed")[:12]
        uri = f"{self._prefix}/models/{release.name}/{release.version}-{content}"
        if release.storage_uri.startswith("file:"):
            self._storage.copy_to(from_uri(release.storage_uri), uri)
            return uri
        with tempfile.TemporaryDirectory() as scratch:
            package = registry.download(self._client, release.storage_uri, Path(scratch) / "package")
            self._storage.copy_to(package, uri)
        return uri
