"""``quality.json``: where the logged features of a window violate their schema."""

from components.shared.documents.document import Document, OptionalFloat, Part

_BROKEN = 0.05
"""Share of the rows, beyond what the schema allows, from which a finding is no slip of single requests."""


class QualityFinding(Part):
    """One violation of one column."""

    column: str
    share: OptionalFloat
    """Share of the window's rows that violate the schema, beyond the share that it allows, 0 to 1; None if unknown."""
    is_reviewed: bool
    """Whether a person reviewed what is violated; otherwise it is what the champion's test rows have in common."""
    sentence: str

    @property
    def is_broken(self) -> bool:
        """Return whether so many rows violate the schema that the column is wrong, and not single requests."""
        return self.share is not None and self.share >= _BROKEN


class DataQuality(Document):
    """The findings about a window, those of most rows first; ``reason`` says why nothing can be known."""

    FILE = "quality.json"

    rows: int
    columns: int
    """Features that were validated."""
    findings: tuple[QualityFinding, ...] = ()
    reason: str | None = None
