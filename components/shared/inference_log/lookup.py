"""Find a request in the log by its id alone, which says nothing of when it was answered."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from components.shared.inference_log import compaction, rows

_HASH = "id_hash"
_THREADS = 4


def find(folder: Path, request_id: str) -> pa.Table | None:
    """Return the rows of a request with all that was logged of them; None if the log has none.

    What shadows scored is left out: it was answered to nobody.

    Only one column of numbers is read of what does not have the request: ten million rows take less than a second.

    Args:
        folder: The inference log; complete segments are compacted first.
        request_id: The id that the answer returned.
    """
    compaction.compact(folder)
    wanted_hash = int(rows.id_hash([request_id])[0])
    with ThreadPoolExecutor(_THREADS) as pool:
        tables_by_file = list(pool.map(lambda path: _in_file(path, wanted_hash, request_id), compaction.files(folder)))
    tables = [table for tables in tables_by_file for table in tables]
    return pa.concat_tables(tables, promote_options="permissive").sort_by("row") if tables else None


def _in_file(path: Path, wanted_hash: int, request_id: str) -> Sequence[pa.Table]:
    file, tables = parquet.ParquetFile(path), []
    for group in range(file.num_row_groups):
        hashes = file.read_row_group(group, columns=[_HASH])[_HASH].to_numpy()
        at = np.flatnonzero(hashes == wanted_hash)
        if len(at):
            candidates = file.read_row_group(group).take(pa.array(at))
            # Two ids may have one hash.
            rows_of_request = candidates.filter(pc.equal(candidates["request_id"], request_id))
            if "shadow" in rows_of_request.column_names:
                rows_of_request = rows_of_request.filter(pc.invert(pc.fill_null(rows_of_request["shadow"], False)))
            tables.append(rows_of_request)
    return [table for table in tables if table.num_rows]
