"""``scores.json``: what a model scored in one go, and in which files."""

from components.shared.documents.document import Document, Part


class ScoredPart(Part):
    """One file of scores: ``sha256`` is that of its bytes."""

    file: str
    rows: int
    sha256: str


class BatchScores(Document):
    """All files of one batch; each row is in exactly one of them.

    Args:
        model: The registered model.
        version: Its version.
        manifest_sha256: SHA-256 of the manifest of the model's package.
        rows_sha256: SHA-256 of the rows that were scored.
        rows: Number of rows.
        parts: The files, in the order of the rows.
        folder: Where they are; an absolute path or an address.
    """

    FILE = "scores.json"

    model: str
    version: str
    manifest_sha256: str
    rows_sha256: str
    rows: int
    parts: tuple[ScoredPart, ...]
    folder: str
