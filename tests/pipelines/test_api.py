"""What the notebook calls: the example's tables where they are missing, and a cluster's endpoint from outside of it."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.shared.errors import InputError, StepFailed
from pipelines import api, simulator
from pipelines.images.environments import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "project.yaml", tmp_path)
    return tmp_path


@pytest.fixture
def gateway() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Listen as a gateway does, and write down who was asked what."""
    asked: list[dict[str, Any]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"host": self.headers["Host"], "path": self.path, "rows": body["instances"]})
            answer = json.dumps({"model_name": "churn", "model_version": "3", "predictions": [{"score": 0.5}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *ignored: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_the_gateway_is_asked_as_this_machine_reaches_it(project, gateway):
    url, asked = gateway
    where = [f"gateway_url={url}", "services.endpoint=kserve://models?domain=example.com&ingress=http://inside"]
    answer = api.ask(project, [{"plan": "basic"}], target="kfp", overrides=where)

    assert answer["model_version"] == "3"
    assert asked == [
        {"host": "churn-models.example.com", "path": "/v1/models/churn:predict", "rows": [{"plan": "basic"}]}
    ]


def test_without_an_address_the_sentence_says_which_key_to_give(project):
    with pytest.raises(InputError, match=r"gateway_url.*domain"):
        api.ask(project, [{}], target="kfp", overrides=["services.endpoint=kserve://models"])


def test_a_gateway_that_only_pods_reach_is_a_sentence_with_the_key_to_give(project):
    where = ["services.endpoint=kserve://models?domain=example.com&ingress=http://127.0.0.1:9"]
    with pytest.raises(StepFailed, match=r":9 does not answer for churn-models\.example\.com .*gateway_url"):
        api.ask(project, [{}], target="kfp", overrides=where)


def test_a_sample_is_asked_for_only_where_a_run_left_one(project):
    where = ["services.endpoint=kserve://models?domain=example.com&ingress=http://127.0.0.1:9"]
    with pytest.raises(InputError, match="no run has left a sample row"):
        api.ask(project, target="kfp", overrides=where)


def test_other_projects_are_not_given_the_examples_tables(tmp_path):
    text = (ROOT / "project.yaml").read_text(encoding="utf-8")
    (tmp_path / "project.yaml").write_text(text.replace(".perennial/data/", "mine/own_"), encoding="utf-8")

    assert api.simulate(tmp_path) == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["project.yaml"]


def test_the_examples_tables_are_written_once(project):
    rows = api.simulate(project)

    assert sorted(rows) == sorted(simulator.TABLES) and min(rows.values()) > 0
    assert api.simulate(project) == {}
