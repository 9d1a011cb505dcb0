"""``replay.json``: what became of a replay, week by week."""

from typing import ClassVar, NamedTuple

from components.shared.documents.document import Document, Part
from components.shared.documents.monitoring import Action, Cause


class Totals(NamedTuple):
    """What all weeks were worth above acting on nobody."""

    gain: float
    never: float
    oracle: float


class ReplayWeek(Part):
    """One week of traffic, and what was decided at its end.

    Args:
        end: Its last moment, ISO 8601.
        rows: Rows that were answered.
        versions: The releases that answered.
        gain: What the decisions were worth above acting on nobody, in the project's currency.
        never: The same for the model that is never retrained.
        oracle: The same for the model of somebody who knows when the change began, but sees labels as late.
        action: What monitoring advised.
        cause: Of what.
        released: The version that took over at the end of the week.
    """

    end: str
    rows: int
    versions: tuple[str, ...]
    gain: float
    never: float
    oracle: float
    action: Action | None = None
    cause: Cause | None = None
    released: str | None = None


class ReplayOutcome(Document):
    """A whole replay.

    Args:
        scenario: Its name.
        currency: Of all gains.
        changed: The day on which the trouble began; None if there was none.
        weeks: The weeks, in their order.
        seconds: How long it took.
    """

    FILE: ClassVar[str] = "replay.json"

    scenario: str
    currency: str
    changed: str | None
    weeks: tuple[ReplayWeek, ...]
    seconds: float

    @property
    def found(self) -> str | None:
        """The end of the first week after the change in which monitoring advised to act."""
        if self.changed is None:
            return None
        acted = (week.end for week in self.weeks if week.action in ("retrain", "roll back") and week.end > self.changed)
        return next(acted, None)

    @property
    def releases(self) -> tuple[ReplayWeek, ...]:
        """The weeks at whose end another version took over."""
        return tuple(week for week in self.weeks if week.released is not None)

    @property
    def recovered(self) -> float | None:
        """The share of what the oracle gains on the model that is never retrained; None where it gains nothing."""
        ours, never, oracle = self.totals
        return (ours - never) / (oracle - never) if oracle > never else None

    @property
    def totals(self) -> Totals:
        """The sums over all weeks."""
        return Totals(*(sum(getattr(week, name) for week in self.weeks) for name in Totals._fields))
