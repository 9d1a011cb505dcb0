"""What tests with containers need: this machine's Docker engine, and an image with Python 3.11 to start from.

``PERENNIAL_BASE`` names the image where it is not the one that the shipped target names.
"""

import os
from typing import TYPE_CHECKING

import pytest

from components.shared.errors import StepFailed
from pipelines.targets.model import Images

if TYPE_CHECKING:
    from docker import DockerClient


def base() -> str:
    """Return the base image."""
    return os.environ.get("PERENNIAL_BASE") or Images().base


def client_or_skip() -> "DockerClient":
    """Return a client of the engine; skip the test, and say why, where there is none or it lacks the base image."""
    from docker.errors import ImageNotFound

    from pipelines.images import engine

    try:
        client = engine.connect()
    except StepFailed as reason:
        pytest.skip(str(reason))
    try:
        client.images.get(base())
    except ImageNotFound:
        pytest.skip(f"the Docker engine has no image {base()}; pull it, or name another in PERENNIAL_BASE")
    return client
