"""A parquet file that is written piece by piece depends on its rows only."""

import itertools

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.row_groups import RowGroupWriter

TABLE = pa.table({"n": list(range(40)), "word": [None if n % 7 == 0 else f"w{n % 3}" for n in range(40)]})


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, TABLE.num_rows), max_size=8).map(sorted))
def test_however_the_rows_are_cut_the_bytes_are_the_same(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("cut")
    ends = [0, *cuts, TABLE.num_rows]
    for name, bounds in (("whole", [(0, TABLE.num_rows)]), ("cut", list(itertools.pairwise(ends)))):
        with RowGroupWriter(folder / name, TABLE.schema, rows=16) as writer:
            for start, end in bounds:
                writer.write(TABLE.slice(start, end - start))
    metadata = pq.read_metadata(folder / "cut")

    assert (folder / "cut").read_bytes() == (folder / "whole").read_bytes()
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [16, 16, 8]
    assert pq.read_table(folder / "cut").equals(TABLE)


def test_a_failure_is_not_hidden_by_what_could_not_be_written(tmp_path):
    with pytest.raises(KeyError, match="the cause"), RowGroupWriter(tmp_path / "rows", TABLE.schema) as writer:
        writer.write(TABLE)
        raise KeyError("the cause")
