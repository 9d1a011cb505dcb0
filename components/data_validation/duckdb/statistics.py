"""Statistics of a parquet file by DuckDB, over all rows, as documents of TensorFlow Metadata."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.data_validation.exact import ROWS, Exact, Table
from components.shared.sql import identifier

_BUCKETS = 10
_TOP_VALUES = 20
_RANKED_VALUES = 1_000
"""Values of a text column that are counted one by one; a column with more of them has no domain."""
_QUANTILE_ROWS = 250_000
"""Quantiles of a larger table come from about as many rows, because DuckDB keeps all of them in memory."""
_TYPES = {"DOUBLE": "FLOAT", "VARCHAR": "STRING"}
_OF_SCHEMA = {"INT": "INT", "FLOAT": "FLOAT", "BYTES": "STRING"}


@dataclass(frozen=True)
class _Numbers:
    """A numeric column over its rows with a value; figures are None without one."""

    mean: float | None
    std: float | None
    low: float | None
    high: float | None
    zeros: int
    missing: int
    finite_low: float | None
    finite_high: float | None
    quantiles: list[float] | None


def compute(table: Table, exact: Exact, expected: Mapping[str, str]) -> Any:
    """Describe every column; see ``ValidationBackend.statistics``. The same rows give the same bytes."""
    from tensorflow_metadata.proto.v0 import statistics_pb2

    # The sum of floating-point numbers depends on their order.
    ordered = Table(table.path, {}, threads=1)
    result = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = result.datasets.add(num_examples=exact.rows)
    for name, column in exact.columns.items():
        feature = dataset.features.add()
        feature.path.step.append(name)
        kind = _kind(column.type, column.present, expected.get(name))
        feature.type = statistics_pb2.FeatureNameStatistics.Type.Value(kind)
        described = feature.string_stats if kind == "STRING" else feature.num_stats
        _describe_presence(described.common_stats, column.present, exact.rows)
        if kind == "STRING":
            _describe_text(feature.string_stats, ordered, name, column.present)
        else:
            _describe_numbers(feature.num_stats, ordered, _as_number(name, column.type), column.present, exact.rows)
    return result


def _kind(type_: str, present: int, expected: str | None) -> str:
    """Return the type of a column: the schema's where the column has no values, or integers for expected floats."""
    kind = _TYPES.get(type_, "INT")
    if expected is not None and (not present or (kind, expected) == ("INT", "FLOAT")):
        return _OF_SCHEMA[expected]
    return kind


def _as_number(name: str, type_: str) -> str:
    quoted = identifier(name)
    return {"TIMESTAMP": f"epoch_us({quoted})", "BOOLEAN": f"CAST({quoted} AS INTEGER)"}.get(type_, quoted)


def _describe_presence(common: Any, present: int, rows: int) -> None:
    common.num_non_missing, common.num_missing, common.tot_num_values = present, rows - present, present
    if present:
        common.min_num_values, common.max_num_values, common.avg_num_values = 1, 1, 1.0


def _describe_text(text: Any, table: Table, name: str, present: int) -> None:
    if not present:
        return
    value = identifier(name)
    ranked = table.select(
        f"SELECT value, rows, count(*) OVER () AS different FROM (SELECT {value} AS value, count(*) AS rows "
        f"FROM {ROWS} WHERE {value} IS NOT NULL GROUP BY 1) ORDER BY rows DESC, value DESC LIMIT {_RANKED_VALUES}"
    ).to_pylist()
    text.unique = ranked[0]["different"]
    text.avg_length = table.select(f"SELECT avg(strlen({value})) FROM {ROWS}").column(0)[0].as_py()
    for rank, row in enumerate(ranked):
        if rank < _TOP_VALUES:
            text.top_values.add(value=row["value"], frequency=row["rows"])
        text.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=row["value"], sample_count=row["rows"])


def _describe_numbers(numbers: Any, table: Table, value: str, present: int, rows: int) -> None:
    if not present:
        return
    figures = _figures(table, value, rows)
    numbers.num_zeros = figures.zeros
    if figures.low is not None and figures.high is not None:
        numbers.min, numbers.max = figures.low, figures.high
        # The mean of an infinite number says nothing.
        is_finite = math.isfinite(figures.low) and math.isfinite(figures.high)
        numbers.mean, numbers.std_dev = (figures.mean, figures.std) if is_finite else (math.nan, math.nan)
    standard = numbers.histograms.add(type="STANDARD", num_nan=figures.missing)
    quantiles = numbers.histograms.add(type="QUANTILES", num_nan=figures.missing)
    if figures.finite_low is None or figures.finite_high is None or figures.quantiles is None:
        return
    numbers.median = figures.quantiles[_BUCKETS // 2]
    edges, counts = _equal_widths(table, value, figures.finite_low, figures.finite_high)
    for index, count in enumerate(counts):
        standard.buckets.add(low_value=edges[index], high_value=edges[index + 1], sample_count=count)
    share = sum(counts) / _BUCKETS
    for low, high in zip(figures.quantiles, figures.quantiles[1:], strict=False):
        quantiles.buckets.add(low_value=low, high_value=high, sample_count=share)


def _figures(table: Table, value: str, rows: int) -> _Numbers:
    number = f"CAST({value} AS DOUBLE)"
    finite, is_number = f"FILTER (WHERE isfinite({number}))", f"FILTER (WHERE NOT isnan({number}))"
    sampled = f"{finite[:-1]} AND file_row_number % {rows // _QUANTILE_ROWS + 1} = 0)"
    ranks = ", ".join(str(rank / _BUCKETS) for rank in range(_BUCKETS + 1))
    [row] = table.select(
        f"SELECT avg({number}) {finite} AS mean, stddev_pop({number}) {finite} AS std, "
        f"min({number}) {is_number} AS low, max({number}) {is_number} AS high, "
        f"count(*) FILTER (WHERE {number} = 0) AS zeros, count(*) FILTER (WHERE isnan({number})) AS missing, "
        f"min({number}) {finite} AS finite_low, max({number}) {finite} AS finite_high, "
        f"quantile_disc({number}, [{ranks}]) {sampled} AS quantiles FROM {ROWS}"
    ).to_pylist()
    return _Numbers(**row)


def _equal_widths(table: Table, value: str, low: float, high: float) -> tuple[list[float], list[int]]:
    """Count finite numbers in buckets of equal width; a constant has one bucket without a width."""
    number = f"CAST({value} AS DOUBLE)"
    width = (high - low) / _BUCKETS
    if not width or not math.isfinite(width):
        count = table.select(f"SELECT count(*) FROM {ROWS} WHERE isfinite({number})").column(0)[0].as_py()
        return [low, high], [count]
    bucket = f"least({_BUCKETS - 1}, CAST(floor(({number} - ({low!r})) / {width!r}) AS INTEGER))"
    rows = table.select(f"SELECT {bucket} AS bucket, count(*) AS rows FROM {ROWS} WHERE isfinite({number}) GROUP BY 1")
    counted = {row["bucket"]: row["rows"] for row in rows.to_pylist()}
    edges = [low + index * width for index in range(_BUCKETS)] + [high]
    return edges, [counted.get(index, 0) for index in range(_BUCKETS)]
