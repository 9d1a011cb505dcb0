"""``summary.json``: what feature retrieval joined, and what it left out."""

from components.shared.documents.document import Document


class TrainingSetSummary(Document):
    """The labelled examples with their features."""

    FILE = "summary.json"

    rows: int
    left_out_young: int
    """Examples too young to have a label."""
    left_out_missing: int
    """Examples without a label."""
    left_out_decided: int = 0
    """Examples whose label a decision has hidden or changed; 0 in older documents."""
    duplicates: int
    ties: dict[str, int]
    """Feature view to the rows that share entity and time with another."""
    as_of: str
    """The clock of the run, ISO 8601."""
    features: dict[str, float]
    """Feature to its share of missing values."""
