"""``reference.json``: training rows that the explanation of a score compares a request with."""

from components.shared.documents.document import Document

REFERENCE_ROWS = 32
"""Rows of a reference, or all training rows if there are fewer."""


class PackageReference(Document):
    """Training rows, chosen at random, as the model's inputs."""

    FILE = "reference.json"

    numeric: tuple[tuple[float | None, ...], ...]
    """(rows, features) in the order of ``ModelFacts.numeric``; None is a missing value."""
    categorical: tuple[tuple[str, ...], ...]
    """(rows, features) in the order of ``ModelFacts.categorical``; "" is a missing value."""
