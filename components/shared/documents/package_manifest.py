"""``manifest.json``: the digest of every file of a model package."""

from typing import ClassVar

from components.shared.documents.document import Document


class PackageManifest(Document):
    """Every other file of the package with its SHA-256."""

    FILE = "manifest.json"
    SEEN: ClassVar[str] = "seen.parquet"
    """Entity and event time of the rows that the model, or a model that it continues, has learned from."""

    files: dict[str, str]
