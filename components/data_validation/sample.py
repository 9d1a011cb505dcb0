"""A sample of a table's rows, which the next run's rows are compared with; it is stored beside the statistics.

The sample holds neither the entity nor times other than the row's own. The sample of the label's source also has the
columns of the other sources, as known at the time of each row, to compare how the label depends on them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.drift.column import Floats

SAMPLE_ROWS = 10_000
"""Approximate number of rows of a sample of a larger table."""
TIME = "perennial.time"
"""Column of a stored sample with the time or number of each row."""

Times = NDArray[np.int64]
Values = Floats | list[str | None]


@dataclass(frozen=True)
class Sample:
    """Rows in the order of their times. ``times`` are microseconds since 1970 or row numbers; None without an order."""

    columns: dict[str, Values]
    times: Times | None
    newest: int | None
    """The newest time of the whole table."""
    labelled_until: int | None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(next(iter(self.columns.values()), []))

    def at(self, rows: NDArray[np.int64]) -> "Sample":
        """Return the rows at these positions."""
        columns: dict[str, Values] = {}
        for name, values in self.columns.items():
            columns[name] = list(map(values.__getitem__, rows.tolist())) if isinstance(values, list) else values[rows]
        times = None if self.times is None else self.times[rows]
        return Sample(columns, times, self.newest, self.labelled_until)

    def after(self, since: int | None) -> "Sample":
        """Return the rows after a time; all rows if it is None or the rows have no order."""
        return self if since is None or self.times is None else self.at(np.flatnonzero(self.times > since))

    def until(self, time: int | None) -> "Sample":
        """Return the rows up to a time; all rows if it is None or the rows have no order."""
        return self if time is None or self.times is None else self.at(np.flatnonzero(self.times <= time))

    def labelled(self, label: str) -> "Sample":
        """Return the rows whose label is known."""
        values = self.columns[label]
        is_known = (
            np.array([value is not None for value in values]) if isinstance(values, list) else np.isfinite(values)
        )
        return self.at(np.flatnonzero(is_known))


def parse(sampled: pa.Table) -> Sample:
    """Convert a sample to arrays of numbers and lists of categories."""
    facts = {key.decode(): int(value) for key, value in (sampled.schema.metadata or {}).items() if value.isdigit()}
    times = sampled[TIME]
    columns: dict[str, Values] = {}
    for name in sampled.column_names:
        if name == TIME:
            continue
        values = sampled[name]
        is_number = pa.types.is_floating(values.type)
        columns[name] = values.to_numpy().astype(np.float64) if is_number else _texts(values)
    return Sample(
        columns,
        None if times.null_count else times.to_numpy().astype(np.int64),
        facts.get("newest"),
        facts.get("labelled_until"),
    )


def _texts(values: pa.ChunkedArray) -> list[str | None]:
    """Convert each different text once, which takes a tenth of the time of ``to_pylist``."""
    encoded = pc.dictionary_encode(pc.cast(values, pa.string())).combine_chunks()
    encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
    names = [*encoded.dictionary.to_pylist(), None]
    codes = pc.fill_null(encoded.indices, len(names) - 1).to_numpy(zero_copy_only=False)
    return list(map(names.__getitem__, codes.tolist()))


def write(sampled: pa.Table, folder: Path, name: str) -> None:
    """Store a sample for the next run."""
    pq.write_table(sampled, _file(folder, name), compression="zstd")


def read(folder: Path, name: str) -> Sample | None:
    """Read the sample of the last accepted snapshot; None if there is none."""
    file = _file(folder, name)
    return parse(pq.read_table(file)) if file.is_file() else None


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.sample.parquet"
