"""Which rows are the same: by entity and event time, alike for every type that they are kept in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.inputs import rows

# Cannot be part of an entity's text that a person would write.
_SEPARATOR = "\x1f"


def keys(table: pa.Table, entity: str, event_time: str) -> pa.Array:
    """Return one text per row that names entity and event time."""
    times = table.column(event_time).cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.string())
    names = pa.chunked_array([pa.array(rows.texts(table, entity), pa.string())])
    joined = pc.binary_join_element_wise(names, times, _SEPARATOR, null_handling="replace", null_replacement="")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def is_in(own: pa.Array, others: pa.Array) -> NDArray[np.bool_]:
    """Return, for each key, whether it is one of the others."""
    contained: NDArray[np.bool_] = pc.is_in(own, value_set=others).to_numpy(zero_copy_only=False)
    return contained
