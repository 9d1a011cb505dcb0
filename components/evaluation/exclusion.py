"""Which rows may judge: none that a model was trained, tuned, stopped or given its threshold on."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared import row_groups
from components.shared.documents.package_manifest import PackageManifest
from components.shared.inputs import row_keys


@dataclass(frozen=True)
class Judges:
    """Test rows that no model has seen, and how many were left out for which reason."""

    table: pa.Table
    by_split: int
    by_champion: int


@dataclass(frozen=True)
class SeenRows:
    """A file with rows that a model has seen, and its columns of the entity and the event time."""

    path: Path
    entity: str
    event_time: str

    def groups(self) -> Iterator[pa.Table]:
        """Read both columns, a group of rows at a time."""
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(row_groups.ROWS, columns=[self.entity, self.event_time]):
                yield pa.Table.from_batches([batch])


def seen(package: Path) -> SeenRows:
    """Return the rows that a package was trained and validated on, and the model that it continues before it."""
    path = package / PackageManifest.SEEN
    return SeenRows(path, *pq.read_schema(path).names)


def oldest(rows: SeenRows) -> str | None:
    """Return the earliest event time, ISO 8601, UTC; times without a zone are UTC. None without rows."""
    times = (pc.min(_utc(group, rows.event_time)).as_py() for group in rows.groups())
    return _iso(min(filter(None, times), default=None))


def newest(table: pa.Table, event_time: str) -> str | None:
    """Return the latest event time of a table in the same form."""
    return _iso(pc.max(_utc(table, event_time)).as_py())


def _utc(table: pa.Table, event_time: str) -> pa.ChunkedArray:
    return table[event_time].cast(pa.timestamp("us", "UTC"), safe=False)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def judges(
    test: pa.Table,
    entity: str,
    event_time: str,
    *,
    seen_by_split: Iterable[SeenRows],
    seen_by_champion: SeenRows | None,
) -> Judges:
    """Leave out every test row whose entity and event time a model has seen (an anti-join).

    Args:
        test: The test rows.
        entity: Their column of the entity.
        event_time: Their column of the event time.
        seen_by_split: What this run's models have seen.
        seen_by_champion: What the champion has seen.
    """
    own = row_keys.keys(test, entity, event_time)
    by_split = np.zeros(test.num_rows, dtype=bool)
    for rows in seen_by_split:
        by_split |= _is_in(own, rows)
    by_champion = np.zeros_like(by_split)
    if seen_by_champion is not None:
        by_champion = _is_in(own, seen_by_champion) & ~by_split
    remaining = test.filter(pa.array(~(by_split | by_champion)))
    return Judges(remaining, int(by_split.sum()), int(by_champion.sum()))


def _is_in(own: pa.Array, rows: SeenRows) -> NDArray[np.bool_]:
    """Return which keys a file has."""
    is_in = np.zeros(len(own), dtype=bool)
    for group in rows.groups():
        is_in |= row_keys.is_in(own, row_keys.keys(group, rows.entity, rows.event_time))
    return is_in
