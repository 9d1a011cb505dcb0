"""The open drift tests keep the contract, and say nothing of few rows."""

import pytest

from components.drift import joint, logic
from tests.components.drift_contract import *  # noqa: F403 - the contract's tests
from tests.components.drift_contract import rows


@pytest.fixture
def compare_with():
    return logic.compare


def test_the_classifier_says_nothing_of_few_rows():
    assert joint.compare(rows(199, 1).select(["score"]), rows(600, 2).select(["score"])) is None
    assert joint.compare(rows(200, 1).select(["score"]), rows(200, 2).select(["score"])) is not None
