"""A comparison finds what differs and nothing else: a table and itself are the same, and SMAPE is from 0 to 2."""

import math
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.inference_log.columns import RECEIVED_TYPES
from components.skew_audit import comparison
from components.skew_audit.comparison import FeatureCounts
from components.skew_audit.pairs import ComparedFeature

NUMBER = ComparedFeature("number", 0, "view", "numeric", is_exact=False)
WHOLE = ComparedFeature("whole", 0, "view", "numeric", is_exact=True)
TEXT = ComparedFeature("text", 0, "view", "categorical", is_exact=True)
FLAG = ComparedFeature("flag", 0, "view", "boolean", is_exact=True)
VALUES: dict[ComparedFeature, st.SearchStrategy[Any]] = {
    NUMBER: st.none() | st.floats(allow_nan=False, allow_infinity=False),
    WHOLE: st.none() | st.integers(-(2**53), 2**53).map(float),
    TEXT: st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
    FLAG: st.none() | st.booleans(),
}
CHECKED = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def counted(folder: Path, feature: ComparedFeature, logged: list[Any], offline: list[Any]) -> FeatureCounts:
    kind = RECEIVED_TYPES[feature.type]
    pairs = {
        "n": pa.array(range(len(logged)), pa.int64()),
        "event_time": pa.array([datetime(2026, 1, 1)] * len(logged), pa.timestamp("us")),
        "release": ["1"] * len(logged),
        "logged0": pa.array(logged, kind),
        "offline0": pa.array(offline, kind),
    }
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")
    with duckdb.connect() as connection:
        comparison.classify(connection, folder / "pairs.parquet", [feature])
        connection.execute('CREATE TABLE other (n BIGINT, "lag of view" BIGINT)')
        counts = comparison.count(connection, feature, trust_staleness=True)
        assert comparison.differs(connection, [feature]) == (counts.unequal > 0)
        return counts


@pytest.mark.parametrize("feature", VALUES, ids=lambda feature: feature.name)
@CHECKED
@given(data=st.data())
def test_a_table_compared_with_itself_is_the_same(tmp_path, feature, data):
    values = data.draw(st.lists(VALUES[feature], min_size=1))

    counts = counted(tmp_path, feature, values, values)

    assert counts.rows == len(values)
    assert (counts.different, counts.missing, counts.extra, counts.stale) == (0, 0, 0, 0)
    assert counts.smape in (None, 0.0)


@CHECKED
@given(st.lists(st.tuples(VALUES[NUMBER], VALUES[NUMBER]), min_size=1))
def test_each_row_is_one_of_four_and_smape_is_from_0_to_2(tmp_path, pairs):
    logged, offline = zip(*pairs, strict=True)

    counts = counted(tmp_path, NUMBER, list(logged), list(offline))

    assert counts.missing == sum(one is None and other is not None for one, other in pairs)
    assert counts.extra == sum(one is not None and other is None for one, other in pairs)
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    assert counts.different == sum(not in_single_precision_the_same(one, other) for one, other in both)
    assert counts.smape is None if not both else 0 <= counts.smape <= 2


def in_single_precision_the_same(one: float, other: float) -> bool:
    single = as_single(one)
    return one == other or (single is not None and single == as_single(other))


def as_single(value: float) -> float | None:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return None


def test_numbers_are_the_same_in_single_precision_and_whole_numbers_only_exactly(tmp_path):
    assert counted(tmp_path, NUMBER, [0.1], [0.1 + 1e-12]).different == 0
    assert counted(tmp_path, NUMBER, [0.1], [0.1001]).different == 1
    assert counted(tmp_path, WHOLE, [16777217.0], [16777216.0]).different == 1
    assert counted(tmp_path, TEXT, ["a"], ["A"]).different == 1


def test_smape_is_the_mean_over_rows_with_both_values(tmp_path):
    counts = counted(tmp_path, NUMBER, [1.0, 0.0, 3.0, None, 5.0], [3.0, 0.0, 1.0, 2.0, None])

    assert counts.smape == pytest.approx((1 + 0 + 1) / 3)
    assert counts.difference is not None
    assert (counts.difference.lowest, counts.difference.median, counts.difference.highest) == (-2, 0, 2)
    assert not math.isnan(counts.smape)
