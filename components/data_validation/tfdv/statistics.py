"""TFDV's statistics of a parquet file: types, shares of missing values, histograms, most frequent values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.data_validation.exact import Exact
from components.data_validation.tfdv import quiet

SAMPLE_ROWS = 250_000
"""TFDV gets at most about this many rows; ``exact`` computes the figures that must be exact over all rows."""
_BATCH = 100_000
_SEED = 7


def generate(path: Path, rows: int, expected: Mapping[str, str]) -> Any:
    """Compute the statistics of a table in bounded memory.

    Times are microseconds since 1970, booleans are 0 and 1. A table of more than ``SAMPLE_ROWS`` rows is sampled
    with a fixed seed.

    Args:
        path: The parquet file.
        rows: Number of rows of the file.
        expected: Column to TFDV's type in the schema (INT, FLOAT, BYTES). A batch without values, or with integers
            only, may fit several types; it gets the expected one.

    Returns:
        A ``DatasetFeatureStatisticsList`` with one data set.
    """
    quiet.tfdv()
    from tensorflow_data_validation.statistics import stats_impl, stats_options
    from tfx_bsl.arrow import table_util

    generators = stats_impl.get_generators(stats_options.StatsOptions(), in_memory=True)
    states = [generator.create_accumulator() for generator in generators]
    random = np.random.default_rng(_SEED)
    share = SAMPLE_ROWS / rows if rows > SAMPLE_ROWS else None
    for batch in pq.ParquetFile(path).iter_batches(_BATCH):
        if share is not None:
            batch = batch.filter(pa.array(random.random(batch.num_rows) < share))
        batch = table_util.CanonicalizeRecordBatch(_plain(batch, expected))
        with np.errstate(invalid="ignore"):  # Infinite numbers have no mean; they are reported separately.
            states = [gen.add_input(state, batch) for gen, state in zip(generators, states, strict=True)]
    return stats_impl.extract_statistics_output(states, generators)


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


def _plain(batch: pa.RecordBatch, expected: Mapping[str, str]) -> pa.RecordBatch:
    """Convert times and booleans to integers, and integers to floats where the schema expects floats."""
    arrays = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        expected_type = expected.get(field.name)
        if pa.types.is_timestamp(field.type) or pa.types.is_boolean(field.type):
            array = pc.cast(array, pa.int64())
        if array.null_count == len(array) and expected_type is not None:
            array = pa.nulls(
                len(array), {"INT": pa.int64(), "FLOAT": pa.float64(), "BYTES": pa.string()}[expected_type]
            )
        elif expected_type == "FLOAT" and pa.types.is_integer(array.type):
            array = pc.cast(array, pa.float64(), safe=False)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)
