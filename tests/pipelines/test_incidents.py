"""One cause is one incident until somebody resolves it, and the next one of its kind refers to it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.shared.documents.monitoring import MonitoringDecision
from components.shared.errors import InputError
from components.shared.incidents import store
from components.shared.incidents.incident import Incident
from pipelines.command import cli
from tests import documents
from tests.pipelines import toy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def decision(action: str, cause: str | None, reason: str = "the loss has risen") -> MonitoringDecision:
    state = "alarm" if action in ("retrain", "roll back") else "quiet"
    loss = {"name": "loss", "state": state, "sentence": reason}
    return documents.monitoring_decision(action=action, cause=cause, reasons=(reason,), signals=(loss,))


def noted(folder: Path, action: str, cause: str | None, day: int = 0):
    return saved(folder, store.seen(folder, decision(action, cause), f"run-{day}", NOW + timedelta(days=day)))


def saved(folder: Path, incident: Incident | None) -> Incident | None:
    return incident and store.save(folder, incident)


@pytest.mark.parametrize(
    ("action", "cause", "opens"),
    [
        ("nothing", None, False),
        ("watch", None, False),
        ("watch", "drift", False),
        ("watch", "label shift", False),
        ("watch", "upstream", True),
        ("watch", "data pipeline", True),
        ("retrain", "drift", True),
        ("retrain", "concept drift", True),
        ("roll back", "concept drift", True),
    ],
)
def test_what_costs_nothing_opens_no_incident(tmp_path, action, cause, opens):
    assert (noted(tmp_path, action, cause) is not None) == opens
    assert len(list(store.opened(tmp_path))) == opens


def test_a_cause_that_is_seen_again_is_the_same_incident_and_keeps_its_most_urgent_advice(tmp_path):
    noted(tmp_path, "watch", "upstream", 0)
    noted(tmp_path, "retrain", "concept drift", 1)
    noted(tmp_path, "roll back", "upstream", 2)
    noted(tmp_path, "watch", "upstream", 3)

    first, second = store.opened(tmp_path)
    assert (first.number, [sighting.run for sighting in first.sightings]) == (1, ["run-0", "run-2", "run-3"])
    assert first.action == "roll back" and second.cause == "concept drift"


def test_an_acknowledged_incident_stays_one_and_a_resolved_one_is_followed_by_another(tmp_path):
    noted(tmp_path, "watch", "upstream", 0)
    store.acknowledge(tmp_path, 1, "kim")
    assert noted(tmp_path, "watch", "upstream", 1).acknowledged_by == "kim"
    saved(tmp_path, store.resolved(tmp_path, 1, "  the export wrote megabytes; reverted  ", NOW))

    again = noted(tmp_path, "watch", "upstream", 9)

    assert (again.number, again.state, again.previous) == (2, "open", 1)
    assert store.get(tmp_path, 1).resolution == "the export wrote megabytes; reverted"


def test_drift_that_is_expected_to_cost_something_opens_an_incident_with_the_rows_to_label(tmp_path):
    signals = tuple(
        {"name": name, "state": "changed", "sentence": "more than before"} for name in ("estimated loss", "input drift")
    )
    rows = ({"request_id": "a", "row": 1},)
    costly = documents.monitoring_decision(action="watch", cause="drift", signals=signals, to_label=rows)

    saved(tmp_path, store.seen(tmp_path, costly, "run-0", NOW))

    [incident] = store.opened(tmp_path)
    assert (incident.cause, [(row.request_id, row.row) for row in incident.to_label]) == ("drift", [("a", 1)])


def test_incidents_are_listed_as_numbers(tmp_path):
    for day in range(11):
        noted(tmp_path, "watch", "upstream", day)
        saved(tmp_path, store.resolved(tmp_path, day + 1, "gone", NOW))

    assert [incident.number for incident in store.opened(tmp_path)] == list(range(1, 12))
    assert store.get(tmp_path, 11).previous == 10


def test_what_can_not_be_done_is_one_sentence(tmp_path):
    noted(tmp_path, "watch", "upstream")
    with pytest.raises(InputError, match=r"there is no incident 7; expected one of \[1\]"):
        store.get(tmp_path, 7)
    with pytest.raises(InputError, match="the resolution is empty"):
        saved(tmp_path, store.resolved(tmp_path, 1, " ", NOW))
    saved(tmp_path, store.resolved(tmp_path, 1, "gone", NOW))
    for change in (lambda: store.acknowledge(tmp_path, 1, "kim"), lambda: store.resolved(tmp_path, 1, "again", NOW)):
        with pytest.raises(InputError, match="incident 1 was resolved at 2026-05-01"):
            change()


def test_the_command_lists_shows_acknowledges_and_resolves(tmp_path):
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    folder = tmp_path / ".perennial" / "incidents"

    def perennial(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(cli.main, ["incidents", *arguments, "--project", str(tmp_path)])
        assert done.exit_code == code, done.output
        return done.output

    assert perennial("list") == "no open incident\n"
    noted(folder, "watch", "upstream", 0)
    assert "upstream" in perennial("list") and "open" in perennial("list")
    assert "incident 1 (upstream) is acknowledged" in perennial("acknowledge", "1", "--who", "kim")
    assert "incident 1 (upstream) is resolved" in perennial("resolve", "1", "--as", "unit was wrong, reverted")
    assert perennial("list") == "no open incident\n" and "resolved" in perennial("list", "--all")
    noted(folder, "retrain", "upstream", 3)
    shown = perennial("show", "2")
    assert "incident 2: upstream, open, advice: retrain" in shown and "  - the loss has risen" in shown
    assert "what to do: ask who delivers the columns" in shown
    assert "the last one of this kind was incident 1: unit was wrong, reverted" in shown
    assert "there is no incident 9" in perennial("show", "9", code=2)
    assert perennial("to-label", "2") == "request_id,row\n"
