"""A model whose candidates are rejected stays due: it waits as long again, and in the end that is an incident."""

from datetime import UTC, datetime

import pytest

from components.shared.incidents import attempts, store
from components.shared.incidents.attempts import TrainingAttempts
from components.shared.project import Retraining
from tests import documents

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
QUIET = {"name": "loss", "state": "quiet", "sentence": "the loss has not risen"}
ALARM = {"name": "loss", "state": "alarm", "sentence": "the loss has risen"}


def decision(day: int, labels: int = 0, signal: dict[str, str] = QUIET):
    until = f"2026-05-{day:02d}T00:00:00+00:00"
    return documents.monitoring_decision(action="retrain", until=until, new_labels=labels, signals=(signal,))


REJECTED = attempts.rejected(TrainingAttempts(release="3"), decision(1, labels=100), "the gate rejected it")


@pytest.mark.parametrize(("day", "labels", "early"), [(8, 149, True), (15, 149, False), (8, 150, False)])
def test_the_next_training_waits_as_long_or_for_as_many_labels_again(day, labels, early):
    retraining = Retraining(every_days=14, new_labels=50)

    assert attempts.is_early(retraining, REJECTED, decision(day, labels)) == early


def test_an_alarm_does_not_wait_and_neither_does_the_first_training():
    retraining = Retraining(every_days=14)

    assert not attempts.is_early(retraining, REJECTED, decision(2, signal=ALARM))
    assert not attempts.is_early(retraining, TrainingAttempts(), decision(2))


def test_trainings_in_a_row_are_counted_and_told_as_one_incident(tmp_path):
    twice = attempts.rejected(REJECTED, decision(15), "auc is 0.02 worse than the champion's")
    twice.write(tmp_path / "loop")

    read = attempts.read(tmp_path / "loop", "3")
    opened = store.save(tmp_path / "incidents", attempts.incident(tmp_path / "incidents", read, "run-2", NOW))
    again = attempts.incident(tmp_path / "incidents", attempts.failed(read, "again"), "run-3", NOW)

    assert (read.in_a_row, read.until) == (2, "2026-05-15T00:00:00+00:00")
    assert (opened.cause, opened.number, again.number, len(again.sightings)) == ("training", 1, 1, 2)
    assert opened.sightings[0].reasons == (
        "2 trainings in a row led to no new release",
        "auc is 0.02 worse than the champion's",
    )


def test_a_training_that_failed_for_another_reason_counts_and_does_not_wait():
    retraining = Retraining(every_days=14)
    broken = attempts.failed(TrainingAttempts(release="3"), "a source was down")

    assert broken.in_a_row == 1
    assert not attempts.is_early(retraining, broken, decision(2))
    later = attempts.failed(REJECTED, "a source was down")
    assert (later.in_a_row, later.until) == (2, REJECTED.until)


def test_the_attempts_of_a_former_release_do_not_count(tmp_path):
    REJECTED.write(tmp_path)

    assert attempts.read(tmp_path, "3") == REJECTED
    assert attempts.read(tmp_path, "4") == TrainingAttempts(release="4")


def test_a_project_that_never_looped_has_no_attempts(tmp_path):
    assert attempts.read(tmp_path, None) == TrainingAttempts()


def test_a_calendar_makes_an_incident_no_more_urgent(tmp_path):
    expected = {"name": "estimated loss", "state": "changed", "sentence": "more wrong answers are expected"}
    drift = {"name": "input drift", "state": "changed", "sentence": "usage differs"}
    due = documents.monitoring_decision(action="retrain", cause="drift", signals=(expected, drift))

    incident = store.seen(tmp_path, due, "run", NOW)

    assert incident is not None and incident.action == "watch"
