"""What the tests of a cluster share: a place to ask, a real S3 server."""

from collections.abc import Iterator

import boto3
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


@pytest.fixture
def client(s3, monkeypatch, request):
    """An empty bucket with the name that the module gives as ``BUCKET``, and the variables with which it is reached."""
    names = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION", "ENDPOINT_URL")
    for name, value in zip(names, ("somebody", "secret", "us-east-1", s3), strict=True):
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = request.module.BUCKET
    client = boto3.client("s3", endpoint_url=s3, region_name="us-east-1")
    client.create_bucket(Bucket=bucket)
    yield client
    for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
        client.delete_object(Bucket=bucket, Key=entry["Key"])
    client.delete_bucket(Bucket=bucket)
