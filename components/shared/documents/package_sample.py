"""``sample.json``: rows as a request would send them, with the scores that every server must answer."""

from components.shared.documents.document import Document

SampleRow = dict[str, bool | int | float | str | None]
"""Feature to its value; None is a missing value."""


SAMPLE_ROWS = 3
"""Rows of a sample; a release sends them in one request to verify the server."""


class PackageSample(Document):
    """A few validation rows, and the trained model's score of each (a list of scores for several classes)."""

    FILE = "sample.json"

    rows: tuple[SampleRow, ...]
    scores: tuple[float | tuple[float, ...], ...]
