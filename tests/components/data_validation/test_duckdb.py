"""What the DuckDB backend promises beyond the common contract: equal bytes, bounded memory, no rule left unchecked."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from components.data_validation.backends import open_backend
from components.data_validation.duckdb import distances
from components.shared.errors import InputError
from components.shared.tfdv import schema
from tests.components.validation_case import describe, table

BACKEND = open_backend("duckdb")


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    rows = table(150_000)
    described = {describe(BACKEND, rows, tmp_path, {}).SerializeToString(deterministic=True) for _ in range(3)}

    assert len(described) == 1


def test_all_rows_of_a_large_table_are_described(tmp_path: Path) -> None:
    numbers = np.arange(600_000, dtype=float)
    [feature] = describe(BACKEND, pa.table({"x": numbers}), tmp_path, {}).datasets[0].features
    standard, quantiles = feature.num_stats.histograms

    assert (feature.num_stats.mean, feature.num_stats.num_zeros) == (numbers.mean(), 1)
    assert [bucket.sample_count for bucket in standard.buckets] == [60_000] * 10
    assert [bucket.low_value for bucket in quantiles.buckets] == pytest.approx(np.arange(0, 600_000, 60_000), abs=3)


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ('sparse_feature { name: "s" }', "'sparse_feature' for it"),
        ('feature { name: "x" type: STRUCT struct_domain {} }', "'struct_domain' for the column 'x'"),
        (
            'feature { name: "x" type: BYTES natural_language_domain {} }',
            "'natural_language_domain' for the column 'x'",
        ),
        ('feature { name: "x" type: BYTES value_counts {} }', "'value_counts' for the column 'x'"),
    ],
)
def test_a_rule_that_is_not_checked_is_refused(tmp_path: Path, declared: str, named: str) -> None:
    described = describe(BACKEND, pa.table({"x": ["a"]}), tmp_path, {})

    with pytest.raises(InputError, match=f"declares {named}, which .*set 'validation: {{backend: tfdv}}'"):
        BACKEND.violations(described, schema.parse(declared, "schema"), None, None)


def test_infinite_numbers_have_no_mean_and_are_in_no_bucket(tmp_path: Path) -> None:
    [feature] = describe(BACKEND, pa.table({"x": [1.0, 2.0, float("inf")]}), tmp_path, {}).datasets[0].features

    assert np.isnan(feature.num_stats.mean) and feature.num_stats.max == float("inf")
    assert sum(bucket.sample_count for bucket in feature.num_stats.histograms[0].buckets) == 2


def test_the_divergence_of_a_distribution_from_itself_is_zero_and_symmetric(tmp_path: Path) -> None:
    one, other = (describe(BACKEND, table(500, seed=seed), tmp_path, {}).datasets[0].features for seed in (1, 2))

    for left, right in zip(one, other, strict=True):
        assert distances.divergence(left, left, "STANDARD") == pytest.approx(0, abs=1e-12)
        forth, back = distances.divergence(left, right, "STANDARD"), distances.divergence(right, left, "STANDARD")
        assert forth is not None and forth == pytest.approx(back) and 0 <= forth <= 1
