"""The incidents of a project: one file each. One cause is one incident, however many windows show it."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from components.shared.documents.monitoring import Cause, LoggedRow, MonitoringDecision
from components.shared.errors import InputError
from components.shared.incidents.incident import Incident, Sighting

WHAT_TO_DO = {
    "service": "look at the server and its machine first: requests wait longer than promised",
    "data pipeline": "look at the log, the labels and the clocks of the clients first: nothing else can be trusted",
    "upstream": "ask who delivers the columns that changed, and roll a change of theirs back",
    "label shift": "check the threshold and the value of decisions, then retrain on newer labels",
    "drift": "label the rows that the incident names, or wait for labels: they show what the drift costs",
    "concept drift": "retrain on newer labels: the same inputs mean something else now",
    "training": "read in the reports ('perennial runs') why the gate lets no model pass; the champion answers on",
    "release": "compare the version with the champion ('perennial compare'); it is not released again unchanged",
}
"""Cause to what to do first."""


def opened(folder: Path) -> Iterator[Incident]:
    """Yield all incidents, the oldest first."""
    paths = sorted(folder.glob("*.json"), key=lambda path: int(path.stem))
    return (Incident.read(path) for path in paths)


def is_incident(decision: MonitoringDecision) -> bool:
    """Return whether somebody has to deal with a decision.

    Drift that costs nothing is no incident: only a loss that has risen is, or one that is expected to, or a cause
    before the model.
    """
    return decision.cause is not None and (decision.is_costly or decision.cause in ("data pipeline", "upstream"))


def seen(folder: Path, decision: MonitoringDecision, run: str, now: datetime) -> Incident | None:
    """Return the open incident with a decision's cause, or a new one; None if there is nothing to deal with.

    The caller saves it, once it has made sure that it will be told.

    Args:
        folder: The project's incidents.
        decision: What monitoring said.
        run: The id of its run.
        now: When it was said.
    """
    if decision.cause is None or not is_incident(decision):
        return None
    # A model that is retrained by the calendar makes an incident no more urgent.
    action = decision.action if decision.is_alarm else "watch"
    sighting = Sighting(run=run, at=now.isoformat(), action=action, reasons=decision.reasons, effect=decision.effect)
    return sighted(folder, decision.cause, sighting, decision.to_label)


def sighted(folder: Path, cause: Cause, sighting: Sighting, to_label: tuple[LoggedRow, ...] = ()) -> Incident:
    """Return the open incident of a cause with one more sighting, or a new one; the caller saves it."""
    former = list(opened(folder))
    for incident in former:
        if incident.cause == cause and incident.state != "resolved":
            again = {"sightings": (*incident.sightings, sighting), "to_label": to_label}
            return incident.model_copy(update=again)
    alike = [incident.number for incident in former if incident.cause == cause]
    return Incident(
        number=max((incident.number for incident in former), default=0) + 1,
        cause=cause,
        sightings=(sighting,),
        to_label=to_label,
        previous=alike[-1] if alike else None,
    )


def acknowledge(folder: Path, number: int, who: str) -> Incident:
    """Note who deals with an incident.

    Raises:
        InputError: If there is no such incident, or it is resolved.
    """
    incident = _open(folder, number)
    return save(folder, incident.model_copy(update={"state": "acknowledged", "acknowledged_by": who}))


def resolved(folder: Path, number: int, resolution: str, now: datetime) -> Incident:
    """Return an incident, closed with what it was and what was done. The caller saves it.

    Raises:
        InputError: If there is no such incident, it is resolved already, or the resolution is empty.
    """
    if not resolution.strip():
        raise InputError("the resolution is empty; say what it was and what was done, for the next time.")
    closed = {"state": "resolved", "resolution": resolution.strip(), "resolved_at": now.isoformat()}
    return _open(folder, number).model_copy(update=closed)


def get(folder: Path, number: int) -> Incident:
    """Return an incident by its number.

    Raises:
        InputError: If there is no such incident.
    """
    path = folder / f"{number}.json"
    if not path.exists():
        numbers = [incident.number for incident in opened(folder)]
        expected = f"expected one of {numbers}" if numbers else "monitoring has opened none so far"
        raise InputError(f"there is no incident {number}; {expected}.")
    return Incident.read(path)


def _open(folder: Path, number: int) -> Incident:
    incident = get(folder, number)
    if incident.state == "resolved":
        when = datetime.fromisoformat(incident.resolved_at or "")
        raise InputError(
            f"incident {number} was resolved at {when:%Y-%m-%d %H:%M} UTC; a new sighting opens a new one."
        )
    return incident


def save(folder: Path, incident: Incident) -> Incident:
    """Write an incident, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    incident.write(folder / f"{incident.number}.json")
    return incident
