"""Which rows may judge: none that a model was trained, tuned, stopped or given its threshold on."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.shared.inputs import rows

# Cannot be part of an entity's text that a person would write.
_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Judges:
    """Test rows that no model has seen, and how many were left out for which reason."""

    table: pa.Table
    by_split: int
    by_champion: int


def keys(table: pa.Table, entity: str, event_time: str) -> pa.Array:
    """Return one text per row that names entity and event time, alike for every type that they are kept in."""
    times = table.column(event_time).cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.string())
    names = pa.chunked_array([pa.array(rows.texts(table, entity), pa.string())])
    joined = pc.binary_join_element_wise(names, times, _SEPARATOR, null_handling="replace", null_replacement="")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def seen(package: Path) -> pa.Table:
    """Return entity and event time of the rows that a package was trained and validated on."""
    return pq.read_table(package / "seen.parquet")


def oldest(table: pa.Table, event_time: str) -> str | None:
    """Return the earliest event time, ISO 8601, UTC; times without a zone are UTC. None without rows."""
    earliest: datetime | None = pc.min(table[event_time].cast(pa.timestamp("us", "UTC"), safe=False)).as_py()
    return None if earliest is None else earliest.isoformat()


def judges(
    test: pa.Table, entity: str, event_time: str, *, seen_by_split: list[pa.Array], seen_by_champion: pa.Array | None
) -> Judges:
    """Leave out every test row whose entity and event time a model has seen (an anti-join)."""
    own = keys(test, entity, event_time)
    by_split = np.zeros(test.num_rows, dtype=bool)
    for seen in seen_by_split:
        by_split |= _is_in(own, seen)
    by_champion = np.zeros_like(by_split) if seen_by_champion is None else _is_in(own, seen_by_champion) & ~by_split
    remaining = test.filter(pa.array(~(by_split | by_champion)))
    return Judges(remaining, int(by_split.sum()), int(by_champion.sum()))


def _is_in(own: pa.Array, seen: pa.Array) -> NDArray[np.bool_]:
    seen_before: NDArray[np.bool_] = pc.is_in(own, value_set=seen).to_numpy(zero_copy_only=False)
    return seen_before
