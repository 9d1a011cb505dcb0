"""Known vulnerabilities of locked packages are found, with the locks that hold them."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.shared.errors import StepFailed
from pipelines.images import locking, vulnerabilities
from pipelines.images.vulnerabilities import Vulnerability

ADVISORY = {
    "id": "GHSA-aaaa", "summary": "It leaks.",
    "affected": [
        {
            "package": {"name": "urllib3", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.8.0"}]}],
        }
    ],
}  # fmt: skip


class Database(BaseHTTPRequestHandler):
    """Answers as OSV does: about urllib3 below 2.8 there is an advisory."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        vulnerable = asked["package"]["name"] == "urllib3" and asked["version"] == "2.7.0"
        body = json.dumps({"vulns": [ADVISORY]} if vulnerable else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def database() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Database)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()


def test_every_lock_is_looked_at():
    packages = vulnerabilities.pinned()

    assert {name for names in packages.values() for name in names} == set(locking.locks())
    assert all(package.count("==") == 1 for package in packages)


def test_a_vulnerable_version_is_found_beside_one_that_is_not(database):
    packages = {"urllib3==2.7.0": ("command",), "urllib3==2.8.0": ("training",), "click==8.1.7": ("command",)}

    assert vulnerabilities.find(packages, database) == [
        Vulnerability("urllib3==2.7.0", "GHSA-aaaa", ("2.8.0",), ("command",))
    ]


def test_a_vulnerability_is_one_sentence():
    assert str(Vulnerability("a==1", "CVE-1", (), ("x", "y"))) == "a==1: CVE-1, not fixed yet; in the locks x, y"


def test_a_database_that_does_not_answer_is_no_clean_bill():
    with pytest.raises(StepFailed, match="the vulnerability database does not answer"):
        vulnerabilities.find({"click==8.1.7": ("command",)}, "http://127.0.0.1:9/v1/query")
