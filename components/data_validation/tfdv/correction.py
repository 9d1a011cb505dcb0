"""Correct TFDV's statistics of a sample by the exact figures of all rows."""

from typing import Any

from components.data_validation.exact import Exact


def correct(statistics: Any, exact: Exact) -> None:
    """Replace a sample's ranges and value counts with those of all rows, for the checks of ranges and domains."""
    for feature in statistics.datasets[0].features:
        column = feature.path.step[0]
        if feature.HasField("num_stats") and exact.columns[column].low is not None:
            feature.num_stats.min, feature.num_stats.max = exact.columns[column].low, exact.columns[column].high
        if feature.HasField("string_stats") and column in exact.values:
            buckets = feature.string_stats.rank_histogram
            del buckets.buckets[:]
            for position, (label, count) in enumerate(exact.values[column]):
                buckets.buckets.add(low_rank=position, high_rank=position, label=label, sample_count=count)
