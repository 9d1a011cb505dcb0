"""Which rows may judge: none that a model was trained, tuned, stopped or given its threshold on."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.documents.package_manifest import PackageManifest
from components.shared.inputs import row_keys


@dataclass(frozen=True)
class Judges:
    """Test rows that no model has seen, and how many were left out for which reason."""

    table: pa.Table
    by_split: int
    by_champion: int


def seen(package: Path) -> pa.Table:
    """Return entity and event time of the rows that a package was trained and validated on."""
    return pq.read_table(package / PackageManifest.SEEN)


def oldest(table: pa.Table, event_time: str) -> str | None:
    """Return the earliest event time, ISO 8601, UTC; times without a zone are UTC. None without rows."""
    return _iso(pc.min(_utc(table, event_time)))


def newest(table: pa.Table, event_time: str) -> str | None:
    """Return the latest event time in the same form."""
    return _iso(pc.max(_utc(table, event_time)))


def _utc(table: pa.Table, event_time: str) -> pa.ChunkedArray:
    return table[event_time].cast(pa.timestamp("us", "UTC"), safe=False)


def _iso(moment: pa.Scalar) -> str | None:
    value: datetime | None = moment.as_py()
    return None if value is None else value.isoformat()


def judges(
    test: pa.Table, entity: str, event_time: str, *, seen_by_split: list[pa.Array], seen_by_champion: pa.Array | None
) -> Judges:
    """Leave out every test row whose entity and event time a model has seen (an anti-join)."""
    own = row_keys.keys(test, entity, event_time)
    by_split = np.zeros(test.num_rows, dtype=bool)
    for seen in seen_by_split:
        by_split |= row_keys.is_in(own, seen)
    by_champion = (
        np.zeros_like(by_split) if seen_by_champion is None else row_keys.is_in(own, seen_by_champion) & ~by_split
    )
    remaining = test.filter(pa.array(~(by_split | by_champion)))
    return Judges(remaining, int(by_split.sum()), int(by_champion.sum()))
