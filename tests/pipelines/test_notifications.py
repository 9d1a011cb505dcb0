"""Every sink gets what it understands; an outage or a kill loses no message, and nobody is told one thing twice."""

import email.message
import email.policy
import json
import os
import shutil
import socketserver
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from components.shared.incidents import outbox, sinks, store
from components.shared.incidents.incident import Incident
from components.shared.incidents.message import Message, message
from components.shared.incidents.sinks import NotDelivered
from components.shared.project import AlertmanagerSink, EmailSink, FileSink, Monitoring, WebhookSink
from pipelines.command import cli
from tests import documents
from tests.pipelines import toy

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FILE = FileSink(kind="file", path="told/incidents.jsonl")


def incident(folder: Path, *actions: str, resolution: str | None = None) -> Incident:
    """Return an incident that was seen with these actions."""
    for day, action in enumerate(actions):
        state = "alarm" if action in ("retrain", "roll back") else "quiet"
        decision = documents.monitoring_decision(
            action=action,
            cause="upstream",
            reasons=(f"usage is negative, {day}",),
            effect="5.0 more",
            signals=({"name": "loss", "state": state, "sentence": "the loss"},),
        )
        seen = store.seen(folder, decision, f"run-{day}", NOW + timedelta(days=day))
        assert seen is not None
        store.save(folder, seen)
    if resolution:
        store.save(folder, store.resolved(folder, 1, resolution, NOW + timedelta(days=9)))
    return store.get(folder, 1)


def told(folder: Path, *actions: str, resolution: str | None = None) -> Message:
    made = incident(folder, *actions, resolution=resolution)
    return message("churn", made, "kim", NOW + timedelta(days=9), NOW + timedelta(days=23))


class Received(ThreadingHTTPServer):
    """A server that keeps what is posted to it, and answers with ``status``."""

    def __init__(self) -> None:
        self.status, self.requests = 200, list[tuple[str, email.message.Message, Any]]()
        super().__init__(("127.0.0.1", 0), _Keep)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Keep(BaseHTTPRequestHandler):
    server: Received

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers, body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Received]:
    with Received() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.mark.parametrize(
    ("actions", "resolution", "event", "severity", "former"),
    [
        (("watch",), None, "opened", "warning", None),
        (("retrain",), None, "opened", "critical", None),
        (("watch", "watch"), None, "seen again", "warning", None),
        (("watch", "retrain"), None, "more urgent", "critical", "warning"),
        (("retrain", "roll back"), None, "more urgent", "critical", None),
        (("retrain", "watch"), None, "seen again", "critical", None),
        (("watch", "retrain"), "reverted", "resolved", "critical", None),
    ],
)
def test_a_message_says_what_happened_to_the_incident(tmp_path, actions, resolution, event, severity, former):
    made = told(tmp_path, *actions, resolution=resolution)

    assert (made.event, made.severity, made.former_severity) == (event, severity, former)
    assert made.title.startswith(f"churn: incident 1 (upstream) {event}, advice: ")
    assert f"usage is negative, {len(actions) - 1}" in made.text and "owner: kim" in made.text
    assert ("resolved: reverted" in made.text) == (resolution is not None)


def test_people_are_told_once_and_alertmanager_every_time():
    alertmanager = AlertmanagerSink(kind="alertmanager", url="http://a")

    assert sinks.wants(alertmanager, "seen again") and not sinks.wants(FILE, "seen again")
    assert all(sinks.wants(FILE, event) for event in ("opened", "more urgent", "resolved"))


def test_a_file_gets_a_line_of_json_per_message(tmp_path):
    for made in (first := told(tmp_path / "i", "watch"), told(tmp_path / "i", "retrain")):
        sinks.send(FILE, made, tmp_path)

    lines = (tmp_path / FILE.path).read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["opened", "more urgent"]
    assert Message.parse(json.loads(lines[0]), "") == first


def test_a_webhook_gets_the_message_and_its_url_may_be_a_secret(tmp_path, server, monkeypatch):
    monkeypatch.setenv("HOOK", f"{server.url}/secret")
    made = told(tmp_path, "watch")

    sinks.send(WebhookSink(kind="webhook", url_env="HOOK"), made, tmp_path)

    [(path, headers, body)] = server.requests
    assert path == "/secret" and headers["Content-Type"] == "application/json"
    assert Message.parse(body, "") == made and body["id"] == "churn-1-1-opened"


def test_what_is_not_taken_is_said_without_the_secret(tmp_path, server, monkeypatch):
    made = told(tmp_path, "watch")
    server.status = 503
    with pytest.raises(NotDelivered, match="answered with status 503"):
        sinks.send(WebhookSink(kind="webhook", url=server.url), made, tmp_path)
    monkeypatch.setenv("HOOK", "http://127.0.0.1:1/secret")
    with pytest.raises(NotDelivered, match="cannot be reached") as refused:
        sinks.send(WebhookSink(kind="webhook", url_env="HOOK"), made, tmp_path)
    assert "secret" not in str(refused.value)
    with pytest.raises(NotDelivered, match="the environment variable NO_HOOK is not set"):
        sinks.send(WebhookSink(kind="webhook", url_env="NO_HOOK"), made, tmp_path)
    with pytest.raises(NotDelivered, match="Is a directory"):
        sinks.send(FileSink(kind="file", path="."), made, tmp_path)
    with pytest.raises(NotDelivered, match="refused"):
        sinks.send(mail_sink(1), made, tmp_path)


def mail_sink(port: int, **changes: Any) -> EmailSink:
    said = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "perennial@example.org",
        "to": ("a@b.org",),
    }
    return EmailSink(kind="email", **(said | changes))


class MailServer(socketserver.ThreadingTCPServer):
    """A server that keeps the mails it gets."""

    def __init__(self, *arguments: Any) -> None:
        self.mails = list[bytes]()
        super().__init__(*arguments)


class _Mailbox(socketserver.StreamRequestHandler):
    """As much of SMTP (RFC 5321) as one mail takes."""

    server: MailServer

    def handle(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            command = line[:4].upper()
            if command == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                lines = iter(self.rfile.readline, b".\r\n")
                self.server.mails.append(b"".join(lines))
            self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")


def test_a_mail_says_all_of_it_in_plain_words(tmp_path):
    with MailServer(("127.0.0.1", 0), _Mailbox) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sinks.send(mail_sink(server.server_address[1], to=("a@b.org", "c@d.org")), told(tmp_path, "watch"), tmp_path)
        server.shutdown()
        [raw] = server.mails

    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail["To"] == "a@b.org, c@d.org" and mail["Message-ID"] == "<churn-1-1-opened@perennial>"
    assert mail["Subject"] == "churn: incident 1 (upstream) opened, advice: watch"
    content = mail.get_content().replace("\r\n", "\n")
    assert "- usage is negative, 0\n" in content and "what to do: ask who delivers the columns" in content


def test_a_change_of_severity_ends_the_former_alert(tmp_path, server, monkeypatch):
    monkeypatch.setenv("ALERTS", "kim:pass")
    sink = AlertmanagerSink(kind="alertmanager", url=f"{server.url}/", credentials_env="ALERTS")

    sinks.send(sink, told(tmp_path, "watch", "retrain"), tmp_path)

    [(path, headers, (critical, warning))] = server.requests
    assert path == "/api/v2/alerts" and headers["Authorization"].startswith("Basic ")
    assert (critical["labels"]["severity"], critical["endsAt"]) == ("critical", "2026-05-24T12:00:00+00:00")
    assert (warning["labels"]["severity"], warning["endsAt"]) == ("warning", "2026-05-10T12:00:00+00:00")
    assert critical["startsAt"] == "2026-05-01T12:00:00+00:00"


def test_an_outage_loses_no_message_and_no_order(tmp_path, server):
    named = {"hook": WebhookSink(kind="webhook", url=server.url), "log": FILE}
    server.status = 500
    for actions in (("watch",), ("retrain",)):
        outbox.put(tmp_path / "outbox", named, told(tmp_path / "i", *actions))

    [left] = outbox.deliver(tmp_path / "outbox", named, tmp_path)

    assert (left.sink, left.messages) == ("hook", 2) and len(server.requests) == 1
    assert len((tmp_path / FILE.path).read_text().splitlines()) == 2
    server.status = 200
    assert outbox.deliver(tmp_path / "outbox", named, tmp_path) == []
    assert [body["event"] for _, _, body in server.requests[1:]] == ["opened", "more urgent"]
    assert outbox.deliver(tmp_path / "outbox", named, tmp_path) == [] and len(server.requests) == 3


def test_a_sink_that_is_no_longer_named_keeps_its_messages(tmp_path):
    outbox.put(tmp_path / "outbox", {"log": FILE}, told(tmp_path / "i", "watch"))

    [left] = outbox.deliver(tmp_path / "outbox", {}, tmp_path)

    assert left == outbox.Waiting("log", 1, "the project file no longer names it")
    assert outbox.deliver(tmp_path / "outbox", {"log": FILE}, tmp_path) == []


def test_a_message_of_a_killed_delivery_comes_again(tmp_path):
    outbox.put(tmp_path / "outbox", {"log": FILE}, told(tmp_path / "i", "watch"))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outbox.deliver(tmp_path / "outbox", {"log": FILE}, tmp_path, killed)

    assert outbox.deliver(tmp_path / "outbox", {"log": FILE}, tmp_path) == []
    assert len((tmp_path / FILE.path).read_text().splitlines()) == 1


def test_more_than_ten_messages_keep_their_order(tmp_path):
    made = told(tmp_path / "i", "watch")
    for number in range(12):
        outbox.put(tmp_path / "outbox", {"log": FILE}, made.model_copy(update={"incident": number}))
    outbox.deliver(tmp_path / "outbox", {"log": FILE}, tmp_path)

    lines = (tmp_path / FILE.path).read_text().splitlines()
    assert [json.loads(line)["incident"] for line in lines] == list(range(12))


@pytest.mark.parametrize(
    ("sink", "said"),
    [
        ({"kind": "pager"}, "webhook"),
        ({"kind": "webhook"}, "a webhook needs either 'url' or 'url_env'"),
        ({"kind": "webhook", "url": "http://a", "url_env": "B"}, "a webhook needs either"),
        ({"kind": "webhook", "url": "ftp://a"}, "https"),
        ({"kind": "email", "host": "h", "sender": "a@b.org", "to": []}, "at least 1"),
    ],
)
def test_a_sink_that_cannot_work_is_refused_with_the_project_file(sink, said):
    with pytest.raises(ValueError, match=said):
        Monitoring(notify={"oncall": sink})


def test_a_season_needs_a_log_that_reaches_back():
    with pytest.raises(ValueError, match="'retention_days' is 180, expected 371 or more"):
        Monitoring(reference="same season")
    assert Monitoring(reference="same season", retention_days=371).retention_days == 371


def test_resolving_tells_the_sinks_and_says_what_waits(tmp_path):
    sinks_of_project = "{log: {kind: file, path: told.jsonl}, hook: {kind: webhook, url_env: NO_HOOK}}"
    (tmp_path / "project.yaml").write_text(f"{toy.PROJECT}monitoring: {{notify: {sinks_of_project}, owner: kim}}\n")
    incident(tmp_path / ".perennial" / "incidents", "watch")

    done = CliRunner().invoke(cli.main, ["incidents", "resolve", "1", "--as", "reverted", "--project", str(tmp_path)])

    assert done.exit_code == 0, done.output
    assert "1 message for 'hook' not delivered: the environment variable NO_HOOK is not set; kept" in done.output
    assert json.loads((tmp_path / "told.jsonl").read_text())["resolution"] == "reverted"


@pytest.mark.skipif(shutil.which("prometheus-alertmanager") is None, reason="no prometheus-alertmanager on PATH")
def test_a_real_alertmanager_takes_an_incident_and_its_end(tmp_path):
    (tmp_path / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = 19093
    command = ["prometheus-alertmanager", f"--config.file={tmp_path}/config.yml", f"--storage.path={tmp_path}/data",
               f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]  # fmt: skip
    sink = AlertmanagerSink(kind="alertmanager", url=f"http://127.0.0.1:{port}")
    now = datetime.now(UTC)

    def active() -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{sink.url}/api/v2/alerts?active=true") as answer:
            alerts: list[dict[str, Any]] = json.load(answer)
        return alerts

    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | {"TZ": "UTC"}) as running:
        try:
            _until(lambda: active() == [])
            made = incident(tmp_path / "i", "watch", "retrain")
            sinks.send(sink, message("churn", made, "kim", now, now + timedelta(days=1)), tmp_path)
            _until(lambda: [alert["labels"]["severity"] for alert in active()] == ["critical"])
            over = incident(tmp_path / "i", resolution="reverted")
            sinks.send(sink, message("churn", over, "kim", now, None), tmp_path)
            _until(lambda: active() == [])
        finally:
            running.terminate()


def _until(holds: Any, timeout_s: float = 30.0) -> None:
    """Wait until a claim about the server holds."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.1)
