"""Incidents of a cluster are kept in a bucket, told once, and survive a sink that is down and a run that is killed."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.notification import logic
from components.notification.logic import Looked
from components.shared import sources
from components.shared.documents.monitoring import MonitoringDecision
from components.shared.errors import InputError
from components.shared.incidents import in_bucket, store
from components.shared.incidents.incident import Incident
from components.shared.incidents.mirror import Mirror
from tests import documents
from tests.components import made_candidate

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
TOLD = {"log": {"kind": "file", "path": "told.jsonl"}}
DOWN = {"pager": {"kind": "webhook", "url_env": "NO_SUCH_VARIABLE"}}
LOSS = {"name": "loss", "state": "alarm", "sentence": "the loss has risen"}


def looked(folder: Path, decision: MonitoringDecision) -> Looked:
    """Write what the steps before this one leave."""
    documents.log_window().write(folder / "window")
    documents.drift_report().write(folder / "drift")
    documents.performance_report("2026-03-01").write(folder / "performance")
    decision.write(folder / "decision.json")
    return Looked(folder / "window", folder / "drift", folder / "performance", folder / "decision.json")


def notified(
    folder: Path,
    day: int = 0,
    *,
    sinks: dict[str, Any] = TOLD,
    cause: str | None = "concept drift",
    metrics: str = "",
) -> str:
    signals = (LOSS,) if cause else ({**LOSS, "state": "quiet"},)
    action = "retrain" if cause else "nothing"
    decision = documents.monitoring_decision(
        action=action, cause=cause, reasons=("the loss has risen",), signals=signals
    )
    project = made_candidate.project(monitoring={"notify": sinks})
    there = f"file://{folder / 'bucket'}"
    return logic.notify(project, looked(folder, decision), there, metrics, f"run-{day}", NOW + timedelta(days=day))


def kept(folder: Path) -> list[Incident]:
    return list(store.opened(folder / "bucket" / "incidents"))


def told(folder: Path) -> list[str]:
    path = folder / "bucket" / "told.jsonl"
    return [json.loads(line)["event"] for line in path.read_text().splitlines()] if path.exists() else []


def test_one_cause_is_one_incident_in_the_bucket_and_people_are_told_once(tmp_path):
    assert notified(tmp_path, 0) == "incident 1 (concept drift) opened"
    assert notified(tmp_path, 7) == "incident 1 (concept drift) seen 2 times"

    [incident] = kept(tmp_path)
    assert [sighting.run for sighting in incident.sightings] == ["run-0", "run-7"]
    assert told(tmp_path) == ["opened"]


def test_where_nothing_is_wrong_nothing_is_kept_and_nobody_told(tmp_path):
    assert notified(tmp_path, cause=None) == logic.QUIET
    assert kept(tmp_path) == [] and told(tmp_path) == []


def test_a_sink_that_is_down_fails_no_run_and_gets_its_message_from_the_next_one(tmp_path):
    assert notified(tmp_path, 0, sinks=DOWN) == "incident 1 (concept drift) opened"
    waiting = tmp_path / "bucket" / "outbox" / "pager"
    assert [path.name for path in waiting.iterdir()] == ["000001-made-1-1-opened.json"]

    # By now the sink of that name is a file, which takes it; nothing new has happened.
    up = {"pager": TOLD["log"]}
    assert notified(tmp_path, 7, sinks=up, cause=None) == logic.QUIET
    assert told(tmp_path) == ["opened"] and list(waiting.iterdir()) == []


def test_a_run_that_is_killed_before_it_sends_leaves_incident_and_message_in_the_bucket(tmp_path, monkeypatch):
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(in_bucket.announcing, "deliver", killed)
        notified(tmp_path)
    assert len(kept(tmp_path)) == 1 and told(tmp_path) == []

    notified(tmp_path, 7, cause=None)
    assert told(tmp_path) == ["opened"]


def test_a_message_that_somebody_else_wrote_meanwhile_stays(tmp_path):
    notified(tmp_path, 0, sinks=DOWN)
    [waiting] = (tmp_path / "bucket" / "outbox" / "pager").iterdir()
    here = Mirror(*sources.bucket(f"file://{tmp_path / 'bucket'}"), "there", tmp_path / "here")
    (tmp_path / "here").mkdir()
    here.fetch()

    (tmp_path / "here" / "outbox" / "pager" / waiting.name).unlink()
    waiting.write_text("{}")
    here.publish()

    assert waiting.read_text() == "{}"


def test_without_a_bucket_the_command_keeps_incidents(tmp_path):
    before = looked(tmp_path, documents.monitoring_decision())

    assert logic.notify(made_candidate.project(), before, "", "", "run", NOW) == logic.ELSEWHERE


def test_a_bucket_that_cannot_be_reached_is_a_sentence(tmp_path):
    before = looked(tmp_path, documents.monitoring_decision())

    with pytest.raises(InputError, match="cannot access nowhere://bucket"):
        logic.notify(made_candidate.project(), before, "nowhere://bucket", "", "run", NOW)


def test_what_was_measured_is_pushed_with_the_open_incidents(tmp_path):
    with Gateway() as gateway:
        notified(tmp_path, metrics=f"http://127.0.0.1:{gateway.server_port}")

    [(path, body)] = gateway.pushed
    assert path == "/metrics/job/perennial-monitoring/model/made"
    assert 'perennial_incidents_open{cause="concept drift",model_name="made"} 1.0' in body
    assert 'perennial_decision{action="retrain",model_name="made"} 1.0' in body


def test_a_push_gateway_that_is_down_fails_no_run(tmp_path, caplog):
    with Gateway() as gateway:
        port = gateway.server_port

    assert notified(tmp_path, metrics=f"http://127.0.0.1:{port}") == "incident 1 (concept drift) opened"
    assert "the next run pushes newer ones" in caplog.text


class Gateway(HTTPServer):
    """A push gateway that keeps what it gets."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), _Keep)
        self._thread = threading.Thread(target=self.serve_forever)

    def __enter__(self) -> "Gateway":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Keep(BaseHTTPRequestHandler):
    server: Gateway

    def do_PUT(self) -> None:
        self.server.pushed.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass
