"""Import kfp as its executor does: TFX brings protos that are older than those of kfp's compiler."""

import os

import pytest

os.environ["_KFP_RUNTIME"] = "true"


@pytest.fixture(scope="session", autouse=True)
def steady() -> None:
    """Fix what TensorFlow allows to fix only before it computes anything."""
    from components.shared.learning import fitting

    fitting.steady(5)
