"""``skew.json``: how far the features of logged requests are from those that the offline path computes."""

from typing import Literal

from pydantic import Field

from components.shared.documents.document import Document, OptionalFloat, Part
from components.shared.documents.monitoring import LoggedRow

SkewCauseName = Literal[
    "late row", "time to live", "null to 0", "unit", "null to constant", "time zone", "staleness", "unknown"
]
"""What a pattern of differences points to; ``components/skew_audit/causes.py`` has the rule of each."""


class SkewCause(Part):
    """What explains a part of the rows of a feature that differ."""

    name: SkewCauseName
    rows: int
    """Rows that it explains; extrapolated where only a sample of them was looked at."""
    detail: str = ""
    """The offset ("+2 h"), the ratio ("x 1000") or the constant; empty where a cause has none."""


class DifferenceQuantiles(Part):
    """The distribution of logged minus offline value, over the rows that have both and are not stale."""

    lowest: OptionalFloat
    q05: OptionalFloat
    median: OptionalFloat
    q95: OptionalFloat
    highest: OptionalFloat


class FeatureSkew(Part):
    """The comparison of one feature. A row that is stale is counted there and nowhere else."""

    feature: str
    view: str
    rows: int
    """Rows that were compared."""
    different: int
    """Rows with two values that are not the same."""
    missing: int
    """Rows without a value in the log that have one offline."""
    extra: int
    """Rows with a value in the log that have none offline."""
    stale: int
    """Rows with an earlier value: the newest one was not materialized yet when the request came."""
    stale_longest_h: OptionalFloat = None
    """Hours for which the newest value had been available when a request came without it; the longest."""
    smape: OptionalFloat = None
    """Symmetric mean absolute percentage error as a share, 0 to 2; None for texts and booleans."""
    difference: DifferenceQuantiles | None = None
    """None for texts and booleans."""
    causes: tuple[SkewCause, ...] = ()
    """The cause that explains most rows first; those of stale rows included."""
    examples: tuple[LoggedRow, ...] = ()
    """Some rows that differ."""

    @property
    def mismatches(self) -> int:
        """Return the number of rows that differ and are not stale."""
        return self.different + self.missing + self.extra


class SkewReport(Document):
    """Which logged rows were compared, which were not and why, and what came of it."""

    FILE = "skew.json"

    model: str
    start: str | None
    """Exclusive limit of event times that was asked for, ISO 8601, UTC; None is no limit."""
    end: str | None
    """Inclusive."""
    rows: int
    """Rows of the window."""
    not_sampled: int
    """Rows that were left out because fewer were asked for."""
    without_entity: int
    """Rows that say nothing of whom they describe, so the offline path cannot be asked."""
    unknown_entity: int
    """Rows of an entity that no feature view has."""
    after_tables: int
    """Rows about a moment after the newest time of the tables, of which the offline path knows nothing yet."""
    from_the_future: int
    """Rows whose event time is later than their request by more than a day; they are not among ``rows``."""
    compared: int
    tables_until: str | None
    """The newest time of any table, ISO 8601, UTC; None without one."""
    releases: dict[str, int]
    """Release to its number of compared rows."""
    features: tuple[FeatureSkew, ...]
    not_logged: tuple[str, ...] = ()
    """Features of the project that the log has no column for: newer than the log, or redacted."""
    not_in_project: tuple[str, ...] = ()
    """Features in the log that the project no longer has."""
    not_in_release: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Feature to the older releases that never logged a value of it, whose rows are not compared."""
    damaged: tuple[str, ...] = ()
    """Why each damaged segment of the log was set aside."""

    @property
    def is_clean(self) -> bool:
        """Return whether no compared row differs; a stale one does not count."""
        return all(feature.mismatches == 0 for feature in self.features)
