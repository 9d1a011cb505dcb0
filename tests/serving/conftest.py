"""One running server, shared by the tests that only ask."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.targets.local import endpoint as local
from tests.serving import tiny

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[local.Running]:
    """Start a server on which version 1 of the tiny model is released; at the end it must still live, without a bug."""
    endpoint = tiny.released(tmp_path_factory.mktemp("running"))
    with local.start(endpoint, python=Path(sys.executable), source=ROOT) as server:
        yield server
        assert server.process.poll() is None
        assert "failed unexpectedly" not in (endpoint / local.LOG).read_text()
