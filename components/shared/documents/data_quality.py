"""``quality.json``: where the logged features of a window violate their schema."""

import math

from components.shared.documents.document import Document, OptionalFloat, Part

_BROKEN = 0.05
"""Share of the rows, beyond what the schema allows, from which a finding is no slip of single requests."""
_Z = 4.0
"""Standard deviations of a lower bound that chance exceeds once in 30,000 findings."""


class QualityFinding(Part):
    """One violation of one column."""

    column: str
    share: OptionalFloat
    """Share of the window's rows that violate the schema, beyond the share that it allows, 0 to 1; None if unknown."""
    rows: int = 0
    """Rows of which it is a share; 0 in older documents, where the share is taken as it is."""
    is_reviewed: bool
    """Whether a person reviewed what is violated; otherwise it is what the champion's test rows have in common."""
    sentence: str

    @property
    def is_broken(self) -> bool:
        """Return whether so many rows violate the schema that the column is wrong, and not single requests."""
        return self.share is not None and self._at_least >= _BROKEN

    @property
    def _at_least(self) -> float:
        """Return a lower bound of the share: Wilson's score interval."""
        share, rows = self.share or 0.0, self.rows
        if rows == 0 or share >= 1:
            return share
        centre, scale = share + _Z**2 / (2 * rows), 1 + _Z**2 / rows
        return (centre - _Z * math.sqrt(share * (1 - share) / rows + _Z**2 / (4 * rows**2))) / scale


class DataQuality(Document):
    """The findings about a window, those of most rows first; ``reason`` says why nothing can be known."""

    FILE = "quality.json"

    rows: int
    columns: int
    """Features that were validated."""
    findings: tuple[QualityFinding, ...] = ()
    reason: str | None = None
