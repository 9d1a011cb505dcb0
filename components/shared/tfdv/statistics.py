"""TFDV's statistics of a table: types, shares of missing values, histograms, most frequent values."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.tfdv import quiet

SAMPLE_ROWS = 250_000
"""TFDV gets at most about this many rows of a file."""
_BATCH = 100_000
_SEED = 7
_TYPES = {"INT": pa.int64(), "FLOAT": pa.float64(), "BYTES": pa.string()}


def of_file(path: Path, rows: int, expected: Mapping[str, str]) -> Any:
    """Compute the statistics of a parquet file in bounded memory.

    A file of more than ``SAMPLE_ROWS`` rows is sampled with a fixed seed.

    Args:
        path: The file.
        rows: Number of rows of the file.
        expected: See ``of_batches``.
    """
    random = np.random.default_rng(_SEED)
    share = SAMPLE_ROWS / rows if rows > SAMPLE_ROWS else None
    batches = pq.ParquetFile(path).iter_batches(_BATCH)
    if share is not None:
        batches = (batch.filter(pa.array(random.random(batch.num_rows) < share)) for batch in batches)
    return of_batches(batches, expected)


def of_batches(batches: Iterable[pa.RecordBatch], expected: Mapping[str, str]) -> Any:
    """Compute the statistics of the rows of all batches.

    Times are microseconds since 1970, booleans are 0 and 1.

    Args:
        batches: The rows, with the same columns in every batch.
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
    for batch in batches:
        batch = table_util.CanonicalizeRecordBatch(_plain(batch, expected))
        with np.errstate(invalid="ignore"):  # Infinite numbers have no mean; they are reported separately.
            states = [gen.add_input(state, batch) for gen, state in zip(generators, states, strict=True)]
    return stats_impl.extract_statistics_output(states, generators)


def _plain(batch: pa.RecordBatch, expected: Mapping[str, str]) -> pa.RecordBatch:
    """Convert times and booleans to integers, and integers to floats where the schema expects floats."""
    arrays = []
    for field, array in zip(batch.schema, batch.columns, strict=True):
        expected_type = expected.get(field.name)
        if pa.types.is_timestamp(field.type) or pa.types.is_boolean(field.type):
            array = pc.cast(array, pa.int64())
        if array.null_count == len(array) and expected_type is not None:
            array = pa.nulls(len(array), _TYPES[expected_type])
        elif expected_type == "FLOAT" and pa.types.is_integer(array.type):
            array = pc.cast(array, pa.float64(), safe=False)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)
