"""The API server that releases on a cluster are tested against."""

import os
from collections.abc import Iterator

import pytest

from tests.components.deployment import api_server


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name the server of KUBECONFIG, or start a double and let KUBECONFIG name that for every process."""
    if existing := os.environ.get("KUBECONFIG"):
        yield existing
        return
    path, server = api_server.start(tmp_path_factory.mktemp("api"))
    os.environ["KUBECONFIG"] = str(path)
    try:
        yield str(path)
    finally:
        del os.environ["KUBECONFIG"]
        server.shutdown()
        server.server_close()
