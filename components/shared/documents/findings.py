"""``findings.json``: what validation found in a snapshot, and a description of its tables."""

from typing import Literal

from components.shared.documents.document import Document, OptionalFloat, Part
from components.shared.project import Reaction

FindingKind = Literal["schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns"]


class Finding(Part):
    """One thing that is not as expected, as a sentence for people."""

    source: str
    column: str | None
    kind: FindingKind
    reaction: Reaction
    sentence: str


class ColumnStatistics(Part):
    """One column: share of missing values and range over all rows, the rest as TFDV computed it."""

    name: str
    type: str
    missing_share: float
    mean: OptionalFloat
    std: OptionalFloat
    min: OptionalFloat
    max: OptionalFloat
    top: tuple[tuple[str, int], ...] | None
    """The most frequent values with their counts; None for a column that is not text."""
    unique: int | None


class TableStatistics(Part):
    """One table of the snapshot."""

    rows: int
    columns: tuple[ColumnStatistics, ...]


class ValidationFindings(Document):
    """All findings that the project file does not ignore, those that block first."""

    FILE = "findings.json"

    blocked: bool
    findings: tuple[Finding, ...]
    tables: dict[str, TableStatistics]
