"""Alibi Detect keeps the contract of drift tests, and each of its tests of all columns finds what no column shows."""

import numpy as np
import pyarrow as pa
import pytest

from components.alibi_drift import joint, logic
from tests.components.drift_contract import *  # noqa: F403 - the contract's tests
from tests.components.drift_contract import PLANS, rows

FEATURES = ["received.usage", "received.plan"]


@pytest.fixture
def compare_with():
    return logic.compare


def related(count: int, seed: int) -> pa.Table:
    """Return rows whose plan follows from their usage, although each is distributed as ever."""
    usage = np.random.default_rng(seed).normal(size=count)
    plan = PLANS[np.digitize(usage, [-0.43, 0.43])]
    return rows(count, seed, received__usage=pa.array(usage), received__plan=pa.array(plan)).select(FEATURES)


@pytest.mark.parametrize("method", joint.METHODS)
def test_each_method_finds_a_changed_relation_and_nothing_in_equal_rows(method):
    reference = rows(1500, 1).select(FEATURES)

    same = joint.METHODS[method](reference, rows(800, 2).select(FEATURES))
    changed = joint.METHODS[method](reference, related(800, 3))

    assert not same.is_drift and changed.is_drift
    assert changed.value > max(same.value, changed.threshold)


@pytest.mark.parametrize("method", joint.METHODS)
def test_each_method_takes_missing_values(method):
    usage = pa.array([None if n % 5 == 0 else float(n % 7) for n in range(400)])
    table = rows(400, 1, received__usage=usage).select(FEATURES)

    assert not joint.METHODS[method](table, table).is_drift


def test_few_rows_say_nothing():
    detector = logic.AlibiDetector()

    assert detector.joint(rows(199, 1).select(FEATURES), rows(600, 2).select(FEATURES)) is None
    assert detector.joint(rows(600, 1).select([]), rows(600, 2).select([])) is None
