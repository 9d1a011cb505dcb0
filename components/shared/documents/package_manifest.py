"""``manifest.json``: the digest of every file of a model package."""

from components.shared.documents.document import Document


class PackageManifest(Document):
    """Every other file of the package with its SHA-256."""

    FILE = "manifest.json"

    files: dict[str, str]
