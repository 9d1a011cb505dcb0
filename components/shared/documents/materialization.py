"""``materialization.json``: what was written to the online store."""

from components.shared.documents.document import Document, Part


class MaterializedView(Part):
    """What became of the newest row per entity of one feature view within the window."""

    view: str
    written: int
    """Entities whose row was written."""
    kept: int
    """Entities for which the online store holds a row that is as new, or newer."""


class MaterializationSummary(Document):
    """The window, and the rows of each view."""

    FILE = "materialization.json"
    IS_ARTIFACT = True

    store: str
    """The address of the online store, without a password."""
    start: str | None
    """Exclusive, ISO 8601, UTC; None is no limit."""
    end: str | None
    """Inclusive, ISO 8601, UTC; None is no limit."""
    views: tuple[MaterializedView, ...]
