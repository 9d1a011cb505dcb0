"""Rows of a table reach the endpoint in the order of their event times, at a set rate, with their entity and time."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from components.shared.errors import InputError, StepFailed
from components.shared.project import Project
from pipelines.traffic import sending
from pipelines.traffic.sending import Question

FEATURES = {"usage": "numeric", "plan": "categorical"}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with two sources, whose rows are taken with a column per feature."""
    text = """
    name: small
    task: binary
    entity: customer
    event_time: at
    sources: {rows: {path: rows.csv}, more: {path: more.csv}}
    label: {source: rows, column: y}
    features: {service: small_v1, columns: {usage: {type: numeric}, plan: {type: categorical}}}
    """
    return Project.model_validate(yaml.safe_load(text))


def questions(project: Project, folder: Path, text: str, most: int = 10) -> list[Question]:
    (folder / "rows_to_send.csv").write_text(text)
    (folder / "work").mkdir()
    return sending.read(project, folder, FEATURES, None, folder / "rows_to_send.csv", folder / "work", most)


def test_requests_hold_rows_of_one_moment_in_the_order_of_time(project, tmp_path):
    asked = questions(
        project,
        tmp_path,
        "customer,at,usage,plan,y\nc3,2026-01-02,3,b,1\nc1,2026-01-01,1,a,0\nc2,2026-01-01,,a,1\n",
    )

    assert asked == [
        Question(
            [{"usage": 1.0, "plan": "a"}, {"usage": None, "plan": "a"}], ["c1", "c2"], "2026-01-01T00:00:00+00:00"
        ),
        Question([{"usage": 3.0, "plan": "b"}], ["c3"], "2026-01-02T00:00:00+00:00"),
    ]


def test_a_request_holds_no_more_rows_than_asked_for(project, tmp_path):
    rows = "".join(f"c{n},2026-01-01,{n},a\n" for n in range(7))

    asked = questions(project, tmp_path, f"customer,at,usage,plan\n{rows}", most=3)

    assert [len(question.rows) for question in asked] == [3, 3, 1]
    assert [row["usage"] for question in asked for row in question.rows] == list(range(7))


def test_a_table_without_entity_and_time_is_sent_as_it_is(project, tmp_path):
    asked = questions(project, tmp_path, "usage,plan\n2,b\n1,a\n")

    assert asked == [Question([{"usage": 2.0, "plan": "b"}, {"usage": 1.0, "plan": "a"}], None, None)]


def test_a_time_that_is_none_is_one_sentence(project, tmp_path):
    with pytest.raises(InputError, match="the column of the event time cannot be read as times"):
        questions(project, tmp_path, "customer,at,usage,plan\nc1,soon,1,a\n")


class Server(ThreadingHTTPServer):
    """Answers every request and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        seen = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps({"model_name": "small", "model_version": "3", "predictions": []}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.shutdown()


def test_what_is_sent_says_whom_and_which_moment_it_describes(server):
    asked = [Question([{"usage": 1.0}], ["c1"], "2026-01-01T00:00:00+00:00"), Question([{"usage": 2.0}], None, None)]

    sent = sending.send(asked, f"http://127.0.0.1:{server.server_port}", "small", rate=1000)

    assert server.bodies == [
        {"instances": [{"usage": 1.0}], "entity": ["c1"], "event_time": "2026-01-01T00:00:00+00:00"},
        {"instances": [{"usage": 2.0}]},
    ]
    assert (sent.requests, sent.rows, sent.versions) == (2, 2, ("3",))


def test_requests_begin_at_the_rate_whatever_the_answers_take(server):
    now, waits = [0.0], []

    def wait(seconds: float) -> None:
        waits.append(round(seconds, 6))
        now[0] += seconds

    def slow(done: int) -> None:
        # The second answer takes as long as five requests should.
        now[0] += 0.5 if done == 2 else 0.01

    asked = [Question([{"usage": 1.0}], None, None)] * 5
    url = f"http://127.0.0.1:{server.server_port}"

    sending.send(asked, url, "small", 10, slow, clock_s=lambda: now[0], wait_s=wait)

    assert waits == [0.09]


def test_without_a_server_nothing_is_sent():
    with pytest.raises(StepFailed, match=r"no model server answers at http://127\.0\.0\.1:9"):
        sending.send([Question([{"usage": 1.0}], None, None)], "http://127.0.0.1:9", "small", 10)
