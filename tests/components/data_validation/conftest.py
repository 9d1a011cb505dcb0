"""The backends of data validation that the environment of these tests has."""

from typing import cast

import pytest

from components.shared.project import ValidationLibrary
from tests.components.validation_case import BACKENDS

collect_ignore = [] if "tfdv" in BACKENDS else ["test_tfdv.py", "test_equal_backends.py"]


@pytest.fixture(scope="module", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> ValidationLibrary:
    """Name a backend."""
    return cast(ValidationLibrary, request.param)
