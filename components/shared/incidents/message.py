"""``message.json``: what is told of an incident, to a person or a program."""

from datetime import datetime
from typing import ClassVar, Literal

from components.shared.documents.document import Document
from components.shared.documents.monitoring import Action, Cause
from components.shared.incidents.incident import Incident
from components.shared.incidents.store import WHAT_TO_DO

Event = Literal["opened", "more urgent", "seen again", "resolved"]
Severity = Literal["critical", "warning"]


class Message(Document):
    """What happened to an incident. It names columns and figures, and holds no value of a request."""

    FILE: ClassVar[str] = "message.json"
    IS_ARTIFACT: ClassVar[bool] = True

    id: str
    """The same whenever this message is sent again."""
    model: str
    incident: int
    event: Event
    severity: Severity
    """critical: the model has to be replaced; warning: somebody has to look."""
    former_severity: Severity | None
    """What it was before it became more urgent; None if it has not changed."""
    cause: Cause
    action: Action
    reasons: tuple[str, ...]
    effect: str | None
    what_to_do: str
    owner: str | None
    resolution: str | None
    opened_at: str
    told_at: str
    ends_at: str | None
    """Until when the incident counts as open if nothing more is told; for Alertmanager."""

    @property
    def title(self) -> str:
        """One line that says it."""
        return f"{self.model}: incident {self.incident} ({self.cause}) {self.event}, advice: {self.action}"

    @property
    def text(self) -> str:
        """All of it in plain words."""
        parts = (
            *(f"- {reason}" for reason in self.reasons),
            self.effect and f"effect: {self.effect}",
            self.resolution and f"resolved: {self.resolution}",
            None if self.resolution else f"what to do: {self.what_to_do}",
            self.owner and f"owner: {self.owner}",
            f"perennial incidents show {self.incident}",
        )
        return "\n".join(filter(None, parts)) + "\n"


def _severity(incident: Incident) -> Severity:
    return "critical" if incident.action in ("retrain", "roll back") else "warning"


def event_of(incident: Incident) -> Event:
    """Return what the last change of an incident was."""
    if incident.state == "resolved":
        return "resolved"
    if len(incident.sightings) == 1:
        return "opened"
    return "seen again" if _before(incident).action == incident.action else "more urgent"


def _before(incident: Incident) -> Incident:
    """Return the incident without its last sighting."""
    return incident.model_copy(update={"sightings": incident.sightings[:-1]})


def message(model: str, incident: Incident, owner: str | None, now: datetime, ends_at: datetime | None) -> Message:
    """Return what to tell of an incident's last change.

    Args:
        model: The project's name.
        incident: The incident after the change.
        owner: Who deals with it.
        now: When this is told.
        ends_at: Until when the incident counts as open if it is not seen again.
    """
    event, last, severity = event_of(incident), incident.sightings[-1], _severity(incident)
    former = _severity(_before(incident)) if event == "more urgent" else severity
    return Message(
        id=f"{model}-{incident.number}-{len(incident.sightings)}-{event.replace(' ', '-')}",
        model=model,
        incident=incident.number,
        event=event,
        severity=severity,
        former_severity=None if former == severity else former,
        cause=incident.cause,
        action=incident.action,
        reasons=last.reasons,
        effect=last.effect,
        what_to_do=WHAT_TO_DO[incident.cause],
        owner=owner,
        resolution=incident.resolution,
        opened_at=incident.sightings[0].at,
        told_at=now.isoformat(),
        ends_at=ends_at and ends_at.isoformat(),
    )
