"""``findings.json``: what validation found in a snapshot, and a description of its tables."""

from typing import Literal

from pydantic import Field

from components.shared.documents.document import Document, OptionalFloat, Part
from components.shared.project import Reaction

FindingKind = Literal[
    "schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns", "unreadable"
]

DriftSignal = Literal["input drift", "label shift", "changed relation"]


class DriftRows(Part):
    """The rows of one side of a comparison; ``start`` and ``end`` (ISO 8601, UTC) are None without a time."""

    rows: int
    start: str | None
    end: str | None


class DriftEvidence(Part):
    """The test behind a finding of drift: ``value`` is at least ``threshold``."""

    signal: DriftSignal
    statistic: str
    value: float
    threshold: float
    p_value: OptionalFloat
    """None for a distance, which is judged by its size."""
    effect: str
    """What changed, in words."""
    is_within_snapshot: bool
    """Whether the newest rows were compared with earlier rows of the same snapshot, not with an accepted one."""
    reference: DriftRows
    current: DriftRows


class Finding(Part):
    """One thing that is not as expected, as a sentence for people."""

    source: str
    column: str | None
    kind: FindingKind
    reaction: Reaction
    sentence: str
    drift: DriftEvidence | None = None
    """The test behind a finding of the kind drift; None for a comparator of the schema, and for other kinds."""


class ColumnStatistics(Part):
    """One column: share of missing values and range over all rows, the rest from the statistics of the backend."""

    name: str
    type: str
    missing_share: float
    mean: OptionalFloat
    std: OptionalFloat
    min: OptionalFloat
    max: OptionalFloat
    first: str | None = None
    last: str | None = None
    """First and last moment of a column of times (ISO 8601, UTC); None for others, and in older documents."""
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
    VERSION = 2  # Version 2 adds the evidence of drift.

    blocked: bool
    findings: tuple[Finding, ...]
    tables: dict[str, TableStatistics]
    comparisons: dict[str, str] = Field(default_factory=dict)
    """What the newest rows of each source were compared with, or why they were not, in one sentence."""
