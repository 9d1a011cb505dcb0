"""What ``perennial status`` and ``show`` say of a project on a cluster is what they say on a laptop."""

import json
import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner

from pipelines.command import cli
from tests.pipelines.kfp.double import Double
from tests.pipelines.kfp.test_verbs import PROJECT

NAMESPACE, DOMAIN = "perennial-models", "example.com"


class Gateway(ThreadingHTTPServer):
    """A gateway that knows one host, and answers other hosts as Envoy does: 404 without a body."""

    daemon_threads = True

    def __init__(self, version: str | None) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.headers["Host"] == f"small-{NAMESPACE}.{DOMAIN}" and version is not None
                body = json.dumps({"name": "small", "versions": [version]}).encode() if known else b""
                self.send_response(200 if known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project.yaml").write_text(PROJECT)
    return tmp_path


@pytest.fixture
def server() -> Iterator[str]:
    """A server that holds one rejected run of the project's experiment."""
    double = Double("a-rejected-run-ends-with-3", page_sizes=[10], ended=True)
    yield double.url
    double.shutdown()
    assert double.problems == []


def perennial(project: Path, verb: str, *settings: str, code: int = 0) -> str:
    options = [option for setting in settings for option in ("--set", setting)]
    done = CliRunner().invoke(cli.main, [verb, "--target", "kfp", "--project", str(project), *options])
    assert done.exit_code == code, done.output
    return re.sub(r"\s+", " ", done.output)


@pytest.mark.parametrize(
    ("version", "sentence"), [("4", "endpoint release 4, at"), (None, "endpoint no release yet, at")]
)
def test_status_shows_release_and_runs_and_says_where_the_registry_would_be(project, server, version, sentence):
    gateway = Gateway(version)
    settings = [f"host={server}", "experiment=perennial-test", f"gateway_url=http://127.0.0.1:{gateway.server_port}"]

    shown = perennial(project, "status", *settings, "registry_url=http://127.0.0.1:9")

    gateway.shutdown()
    assert sentence in shown and f"(host small-{NAMESPACE}.{DOMAIN})" in shown
    assert "registry the model registry http://127.0.0.1:9 does not answer" in shown
    assert "give registry_url in the target file" in shown
    assert re.search(r"1f720b64-\S+ .* rejected", shown)


def test_a_gateway_that_does_not_answer_hides_nothing_else(project, server):
    settings = [f"host={server}", "experiment=perennial-test", "gateway_url=http://127.0.0.1:9"]

    shown = perennial(project, "status", *settings, "registry_url=http://127.0.0.1:9")

    assert "endpoint unknown: the models' gateway http://127.0.0.1:9 does not answer; give gateway_url" in shown
    assert "rejected" in shown


def test_show_names_the_address_of_a_registry_that_does_not_answer(project):
    assert "the model registry http://127.0.0.1:9 does not answer" in perennial(
        project, "show", "registry_url=http://127.0.0.1:9", code=5
    )
