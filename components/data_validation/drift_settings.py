"""What the newest rows of a source are compared with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ComparisonSettings:
    """One comparison; ``since`` is the newest time of the reference, None if the rows have no order."""

    source: str
    sources: int
    """Number of sources of the project, among which the false alarms of a run are divided."""
    own_columns: frozenset[str]
    """Columns of the source itself; the others are joined, and are compared in their own source."""
    label: str | None
    """The label, if this is its source."""
    positive: str | None
    """The label value that counts as positive; None for a label with more classes, or of numbers."""
    distance_min: float
    """Smallest distance between two distributions that counts as drift."""
    is_time: bool
    """Whether ``since`` is a time, in microseconds since 1970, and not the number of a row."""
    is_within_snapshot: bool
    """Whether the reference are the earlier rows of the same snapshot."""
    since: int | None
    labelled_since: int | None
