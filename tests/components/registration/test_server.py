"""The registry of a cluster is an MLflow server with its artifacts in a bucket; it holds what a SQLite file holds.

PERENNIAL_MLFLOW names the program ``mlflow`` of an environment with infra/mlflow/requirements.txt.
"""

import os
import shutil
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from components.champion import logic as champion
from components.registration import logic
from components.shared import files, polling, registry
from components.shared.errors import InputError, StepFailed
from tests.components import made_candidate
from tests.components.made_candidate import CODE

PROGRAM = os.environ.get("PERENNIAL_MLFLOW", "")
pytestmark = pytest.mark.skipif(
    shutil.which(PROGRAM) is None, reason="PERENNIAL_MLFLOW names no mlflow program that could run a server"
)


class _Bucket(BaseHTTPRequestHandler):
    """As much of S3 as clients of MLflow use: put, get, and list the objects below a prefix."""

    objects: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.objects[unquote(urlsplit(self.path).path)] = content
        self._answer(b"")

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if "list-type" in query:
            self._answer(self._listed(unquote(parts.path), query.get("prefix", ""), query.get("delimiter", "")))
        else:
            self._answer(self.objects[unquote(parts.path)])

    def do_HEAD(self) -> None:
        self.do_GET()

    def _listed(self, bucket: str, prefix: str, delimiter: str) -> bytes:
        names = [key.removeprefix(f"{bucket}/") for key in self.objects]
        below = [name for name in names if name.startswith(prefix)]
        folders = {
            prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter
            for name in below
            if delimiter and delimiter in name[len(prefix) :]
        }
        leaves = [name for name in below if not delimiter or delimiter not in name[len(prefix) :]]
        keys = "".join(
            f"<Contents><Key>{name}</Key><Size>{len(self.objects[f'{bucket}/{name}'])}</Size></Contents>"
            for name in leaves
        )
        common = "".join(f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in sorted(folders))
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}{common}</ListBucketResult>".encode()

    def _answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bucket", (_Bucket,), {"objects": {}}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    variables = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield "s3://models/artifacts"
    server.shutdown()


@pytest.fixture(scope="module")
def uri(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a server with the flags and settings of infra/base/services/mlflow.yaml."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [PROGRAM, "server", "--no-serve-artifacts", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    settings = {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db",
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": bucket,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | settings, cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        started = polling.within(lambda: _is_healthy(address), deadline_s=120, poll_s=0.2)
        assert started, (folder / "log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def register(name: str, uri: str, folder: Path, weights_hash: str = "a" * 64) -> tuple[str, Path]:
    """Register a candidate of a project of its own; return the version, and the candidate's package."""
    named = made_candidate.project(name=name)
    evidence = made_candidate.evidence(folder / "candidate", named=named, weights_hash=weights_hash)
    version = logic.register(evidence, uri, CODE, folder / "release", folder / "card.md", folder / "card.html")
    return version, evidence.model


def test_a_version_is_whole_and_its_package_comes_back_from_the_bucket(uri, tmp_path):
    version, package = register("whole", uri, tmp_path)

    client = registry.open(uri)
    found = registry.version(client, "whole", version)
    assert found.source.startswith("runs:/") or found.source.startswith("s3://models/artifacts/")
    assert str(registry.version_by_alias(client, "whole", registry.CHALLENGER).version) == version
    assert registry.champion(client, "whole") is None
    copied = registry.download(client, str(found.source), tmp_path / "copied")
    assert files.sha256(copied) == files.sha256(package)
    run = client.get_run(found.run_id)
    assert (run.data.metrics["test.auc"], run.info.status) == (0.8123, "FINISHED")
    assert run.info.artifact_uri.startswith("s3://models/artifacts/")


def test_the_same_candidate_again_is_the_same_version_and_another_one_is_the_next(uri, tmp_path):
    first, _ = register("again", uri, tmp_path / "1")
    second, _ = register("again", uri, tmp_path / "2")
    other, _ = register("again", uri, tmp_path / "3", weights_hash="b" * 64)

    assert (first, second, other) == ("1", "1", "2")
    with pytest.raises(InputError, match=r"model 'again' has no version '7'; expected one of \['1', '2'\]"):
        registry.version(registry.open(uri), "again", "7")


def test_the_champion_step_hands_on_the_released_package(uri, tmp_path):
    version, package = register("handed", uri, tmp_path)
    registry.move_alias(registry.open(uri), "handed", registry.CHAMPION, version)

    targets = (tmp_path / part for part in ("model", "accepted", "measured", "start"))
    handed_on = champion.fetch(made_candidate.project(name="handed"), uri, *targets)

    assert handed_on == version
    assert files.sha256(tmp_path / "model" / "package") == files.sha256(package)
    assert files.read_json(tmp_path / "accepted" / "accepted.json")["snapshot_hash"] == "5" * 64
    assert files.read_json(tmp_path / "measured" / "evaluation" / "evaluation.json")["primary"] == "auc"


def test_a_version_whose_registration_was_killed_is_not_listed(uri, tmp_path):
    version, _ = register("killed", uri, tmp_path)
    client = registry.open(uri)
    client.delete_model_version_tag("killed", version, registry.COMPLETE)

    assert registry.versions(client, "killed") == []
    assert [str(v.version) for v in registry.versions(client, "killed", complete=False)] == [version]


def test_a_server_without_the_bucket_is_one_sentence(uri, tmp_path, monkeypatch):
    version, _ = register("locked", uri, tmp_path)
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    client = registry.open(uri)
    source = str(registry.version(client, "locked", version).source)

    with pytest.raises(StepFailed, match=r"cannot read the artifacts .*check its address and credentials"):
        registry.download(client, source, tmp_path / "copied")
    assert not (tmp_path / "copied").exists()
