"""What the tests of a cluster share: a place to ask, a real S3 server."""

from collections.abc import Iterator

import pytest
from moto.server import ThreadedMotoServer

from tests.pipelines.kfp.place import Place, places


@pytest.fixture
def place(request, tmp_path) -> Iterator[Place]:
    scenario = request.node.originalname.removeprefix("test_")
    if hasattr(request.node, "callspec"):
        scenario = f"{scenario}-{request.node.callspec.id}"
    yield from places(scenario, tmp_path)


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Run an S3 server on loopback and return its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()
