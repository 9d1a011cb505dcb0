"""``trainings.json``: the trainings that the loop began since the last new release, and what became of them."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from components.shared.documents.document import Document
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.incidents import store
from components.shared.incidents.incident import Incident, Sighting
from components.shared.project import Retraining


class TrainingAttempts(Document):
    """Trainings without a new release.

    Args:
        release: The release that answered meanwhile.
        in_a_row: How many there are since it took over.
        until: The end of the window that led to the last one that was rejected, ISO 8601; None before the first.
        new_labels: The labels that had become known by then.
        reasons: Why each came to nothing.
    """

    FILE: ClassVar[str] = "trainings.json"

    release: str | None = None
    in_a_row: int = 0
    until: str | None = None
    new_labels: int = 0
    reasons: tuple[str, ...] = ()


def read(folder: Path, release: str | None) -> TrainingAttempts:
    """Return the attempts since a release took over, none before the first."""
    none = TrainingAttempts(release=release)
    kept = TrainingAttempts.read(folder) if (folder / TrainingAttempts.FILE).exists() else none
    return kept if kept.release == release else none


def rejected(attempts: TrainingAttempts, decision: MonitoringDecision, reason: str) -> TrainingAttempts:
    """Count a training whose model may not answer: the next one without an alarm waits for other rows."""
    waits = {"until": decision.until, "new_labels": decision.new_labels}
    return failed(attempts, reason).model_copy(update=waits)


def failed(attempts: TrainingAttempts, reason: str) -> TrainingAttempts:
    """Count a training that came to no model; the next round may begin another one."""
    more = {"in_a_row": attempts.in_a_row + 1, "reasons": (*attempts.reasons, reason)}
    return attempts.model_copy(update=more)


def is_early(retraining: Retraining, attempts: TrainingAttempts, decision: MonitoringDecision) -> bool:
    """Return whether a training without an alarm would follow too soon on one that released nothing.

    The champion stays due when its candidate is rejected; the next one waits as long, or for as many labels, again.

    Args:
        retraining: How long, or for how many labels.
        attempts: Those since the last release.
        decision: What calls for a training.
    """
    if attempts.until is None or decision.until is None or decision.is_alarm:
        return False
    waited = datetime.fromisoformat(decision.until) - datetime.fromisoformat(attempts.until)
    is_aged = retraining.every_days is not None and waited >= timedelta(days=retraining.every_days)
    labeled = decision.new_labels - attempts.new_labels
    return not (is_aged or (retraining.new_labels is not None and labeled >= retraining.new_labels))


def incident(folder: Path, attempts: TrainingAttempts, run: str, now: datetime) -> Incident:
    """Return the incident that trainings come to nothing; the caller saves it.

    Args:
        folder: The project's incidents.
        attempts: Those since the last release.
        run: The last of them.
        now: When it ended.
    """
    reasons = (f"{attempts.in_a_row} trainings in a row led to no new release", *attempts.reasons[-1:])
    sighting = Sighting(run=run, at=now.isoformat(), action="watch", reasons=reasons)
    return store.sighted(folder, "training", sighting)
