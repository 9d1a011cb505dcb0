"""``<id>.json``: one incident, and what became of it."""

from typing import ClassVar, Literal

from components.shared.documents.document import Document, Part
from components.shared.documents.monitoring import Action, Cause, LoggedRow

State = Literal["open", "acknowledged", "resolved"]


class Sighting(Part):
    """One run of the monitoring pipeline that showed the incident."""

    run: str
    at: str
    action: Action
    reasons: tuple[str, ...]
    effect: str | None = None


class Incident(Document):
    """A cause that monitoring has seen, until somebody resolves it.

    ``number`` counts from 1. ``previous`` is the number of the last resolved incident with the same cause.
    """

    FILE: ClassVar[str] = "incident.json"
    IS_ARTIFACT: ClassVar[bool] = True

    number: int
    cause: Cause
    state: State = "open"
    sightings: tuple[Sighting, ...]
    to_label: tuple[LoggedRow, ...] = ()
    """Rows to label first, of the last sighting."""
    acknowledged_by: str | None = None
    resolution: str | None = None
    """What it was, and what was done."""
    resolved_at: str | None = None
    previous: int | None = None

    @property
    def action(self) -> Action:
        """The most urgent advice so far."""
        order: list[Action] = ["nothing", "watch", "retrain", "roll back"]
        return max((sighting.action for sighting in self.sightings), key=order.index)
