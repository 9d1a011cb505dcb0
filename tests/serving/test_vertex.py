"""In a container of Vertex AI, the server takes its port, its routes and its model from the environment."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.shared import cloud_storage, inference, polling
from components.shared.cloud_storage import CloudStorage
from components.shared.errors import InputError, StepFailed
from serving.vertex import VertexContainer, VertexRoutes
from tests.cloud_storage_double import CloudStorageDouble
from tests.serving import tiny
from tests.serving.conftest import ROOT

VARIABLES = {
    "AIP_HTTP_PORT": "8080", "AIP_HEALTH_ROUTE": "/ping", "AIP_PREDICT_ROUTE": "/score",
    "AIP_STORAGE_URI": "gs://copies/models/tiny",
}  # fmt: skip


@pytest.fixture(scope="module")
def google_server() -> Iterator[CloudStorageDouble]:
    """One server for all tests: Google's library reads once in a process where the metadata server is."""
    google = CloudStorageDouble("copies")
    yield google
    google.close()


@pytest.fixture
def google(google_server: CloudStorageDouble, tmp_path: Path) -> CloudStorageDouble:
    package = tiny.package(tmp_path / "model")
    files = {f"models/tiny/{file.name}": file.read_bytes() for file in package.iterdir()}
    google_server.renew(files | {"models/tiny/": b"", "models/tiny-2/model.json": b"of another model"})
    return google_server


@pytest.fixture
def here(google: CloudStorageDouble, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CloudStorageDouble:
    """This process has the container's credentials."""
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for name, value in google.environment().items():
        monkeypatch.setenv(name, value)
    return google


@contextmanager
def container(
    google: CloudStorageDouble, tmp_path: Path, **variables: str
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = os.environ | google.environment() | VARIABLES | {"AIP_HTTP_PORT": str(port), "CLOUDSDK_CONFIG": str(tmp_path)}
    env.pop("GOOGLE_APPLICATION_CREDENTIALS", None)
    options = ["--name", tiny.NAME, "--version", "7", "--authenticated-by", "Vertex AI"]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", *options], cwd=ROOT, env=env | variables, text=True, stderr=subprocess.PIPE
    )
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.communicate(timeout=20)


def is_ready(url: str) -> bool:
    try:
        return inference.call(url, "/ping", timeout_s=20)[0] == 200
    except StepFailed:
        return False


def test_a_container_serves_the_package_of_the_bucket_on_the_routes_that_vertex_calls(google, tmp_path):
    rows = [dict(row) for row in tiny.SAMPLE]
    with container(google, tmp_path) as (url, _):
        assert polling.within(lambda: is_ready(url), 30, 0.1)
        status, answer = inference.call(url, "/score", body=json.dumps({"instances": rows}).encode())
        known = inference.predict(url, tiny.NAME, rows)
        asked = {"instances": rows, "parameters": {"entity": ["a", "b", "c"], "event_time": "2026-01-01T00:00:00Z"}}
        with_parameters = inference.call(url, "/score", body=json.dumps(asked).encode())
        refused = inference.call(url, "/score", body=json.dumps(asked | {"parameters": {"color": 1}}).encode())
        method = inference.call(url, "/score")[0]
        _, counted = inference.call(url, f"/v2/models/{tiny.NAME}")

    assert status == 200
    assert [row["score"] for row in answer["predictions"]] == pytest.approx([tiny.score(row) for row in tiny.SAMPLE])
    assert answer == {"predictions": known["predictions"]}
    assert with_parameters == (200, answer)
    assert refused[0] == 400 and "the parameter 'color' is unknown; expected some of ['entity'" in refused[1]["error"]
    assert (method, known["model_version"], counted["versions"]) == (405, "7", ["7"])


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"instances": [], "parameters": []}', "'parameters' is not an object"),
        (b'{"instances": [], "entity": "a", "parameters": {"entity": "b"}}', "'entity' is given twice"),
        (b'{"instances": [{"usage": 1, "active": true, "plan": null, "plan": "a"}], "parameters": {}}', "twice in one"),
        (b'{"parameters": null}', "has no 'instances'"),
        (b'{"instances": [{"usage": 1}]}', "row 0"),
    ],
)
def test_what_the_protocol_forbids_is_refused_in_a_sentence(google, tmp_path, body, sentence):
    with container(google, tmp_path) as (url, _):
        assert polling.within(lambda: is_ready(url), 30, 0.1)
        status, answer = inference.call(url, "/score", body=body)

    assert status == 400
    assert sentence in answer["error"]


def test_a_container_whose_package_was_altered_does_not_start(google, tmp_path):
    google.objects["models/tiny/model.onnx"] += b"more"
    with container(google, tmp_path) as (_, process):
        _, error = process.communicate(timeout=60)

    assert process.returncode == 5
    assert "model.onnx" in error


def test_a_package_is_copied_page_by_page_also_from_a_busy_server(here, tmp_path):
    here.busy = 2
    _storage(here).copy_from("gs://copies/models/tiny/", tmp_path / "copy")

    copied = {file.name: file.read_bytes() for file in (tmp_path / "copy").iterdir()}
    assert copied == {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}


def test_what_cannot_be_read_is_named_with_what_to_do(here, tmp_path):
    storage = _storage(here)
    with pytest.raises(StepFailed, match=r"nothing is stored below gs://copies/other; upload the model again"):
        storage.copy_from("gs://copies/other", tmp_path / "copy")
    with pytest.raises(InputError, match=r"is 's3://a/b'; expected gs://bucket/path"):
        storage.copy_from("s3://a/b", tmp_path / "copy")
    here.objects["models/tiny/../../out"] = b"x"
    with pytest.raises(InputError, match="leads out of the folder"):
        storage.copy_from("gs://copies/models/tiny", tmp_path / "copy")
    here.forbidden = True
    with pytest.raises(StepFailed, match=r"did not read gs://copies/models/tiny \(403 .*account in use may do that"):
        storage.copy_from("gs://copies/models/tiny", tmp_path / "copy")


def test_the_variables_are_read_once_and_outside_of_vertex_nothing_changes():
    assert VertexContainer.read({"AIP_STORAGE_URI": "gs://a/b"}) is None
    assert VertexContainer.read(VARIABLES) == VertexContainer(
        8080, VertexRoutes("/ping", "/score"), "gs://copies/models/tiny"
    )
    assert VertexContainer.read(VARIABLES | {"AIP_STORAGE_URI": ""}) == VertexContainer(
        8080, VertexRoutes("/ping", "/score"), None
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"AIP_HTTP_PORT": "http"}, "AIP_HTTP_PORT is 'http'; expected a port"),
        ({"AIP_PREDICT_ROUTE": ""}, "AIP_PREDICT_ROUTE is ''; expected a path"),
        ({"AIP_PREDICT_ROUTE": "/ping"}, "both '/ping'; expected two routes"),
        ({"AIP_STORAGE_URI": "/mnt/models"}, "expected gs://bucket/prefix"),
    ],
)
def test_an_invalid_variable_is_named(change, sentence):
    with pytest.raises(InputError, match=sentence):
        VertexContainer.read(VARIABLES | change)


def _storage(google: CloudStorageDouble) -> CloudStorage:
    return CloudStorage(cloud_storage.open_session(cloud_storage.READ), google.origin)
