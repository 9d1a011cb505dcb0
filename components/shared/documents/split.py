"""``split.json``: how the examples were divided into rows that train, choose and judge."""

from components.shared.documents.document import Document, Part

TimeSpan = tuple[str, str]
"""First and last moment, ISO 8601."""


class SplitRows(Part):
    """Rows of each part; ``left_out`` are in the gaps between the parts."""

    train: int
    validation: int
    test: int
    left_out: int


class SplitSpans(Part):
    """The event times of each part."""

    train: TimeSpan
    validation: TimeSpan
    test: TimeSpan


class SplitSummary(Document):
    """The parts of a split and the hash of their content."""

    FILE = "split.json"
    VERSION = 2  # Version 2 adds the repeated test rows.

    method: str
    gap_days: int
    rows: SplitRows
    ranges: SplitSpans
    content_hash: str
    repeated_test_rows: int | None = None
    """Test rows whose features and label are those of a training row; None if they were not counted."""
