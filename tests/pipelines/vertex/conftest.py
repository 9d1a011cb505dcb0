"""What the tests of Vertex AI share: the API's double, a bucket, a project."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gcp_storage_emulator.server import create_server

from pipelines.targets.remote import submission
from tests.pipelines.vertex.double import PROJECT, REGION, Double, Server
from tests.pipelines.vertex.release_double import RELEASE_METHODS, ReleaseDouble


@dataclass(frozen=True)
class Google:
    """Google Cloud, as far as the tests need it."""

    double: Double
    settings: tuple[str, ...]
    """What ``--set`` gets."""


@pytest.fixture(scope="session")
def vertex_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run the API on loopback; gRPC reads the trusted roots once, when a process makes its first channel."""
    server = Server(tmp_path_factory.mktemp("vertex"), ReleaseDouble(), RELEASE_METHODS)
    os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(server.roots)
    yield server
    server.close()


@pytest.fixture
def google(vertex_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Google]:
    """Provide empty services, an empty bucket and credentials."""
    vertex_server.renew()
    storage = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
    storage.start()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(vertex_server.key_file))
    monkeypatch.setattr(submission, "revision", lambda: "0123456789ab")
    settings = (
        f"project={PROJECT}", f"region={REGION}", f"api_endpoint={vertex_server.address}",
        f"logging_url={vertex_server.http}", "images.registry=europe-docker.pkg.dev/my-project",
        "storage.uri=gs://bucket/perennial",
        f"storage.endpoint_url=http://127.0.0.1:{storage._api._httpd.server_port}",
    )  # fmt: skip
    yield Google(vertex_server.double, settings)
    storage.stop()


def project_in(folder: Path, text: str) -> Path:
    """Write a small project and return its folder."""
    folder.mkdir(exist_ok=True)
    (folder / "project.yaml").write_text(text)
    (folder / "rows.csv").write_text("id,at,x,y\n1,2024-01-01,0.5,0\n")
    return folder
