"""A folder of parquet files is one table, or the file that does not fit is named."""

from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic
from components.shared.errors import InputError
from components.shared.project import Project

PROJECT = Project.model_validate(
    {
        "name": "sharded",
        "task": "binary",
        "entity": "id",
        "event_time": "at",
        "sources": {"rows": {"path": "rows", "time": "at"}},
        "label": {"source": "rows", "column": "y"},
        "features": {"service": "s", "columns": {"x": {"type": "numeric"}}},
    }
)


def write(folder, name: str, x: pa.Array, at: pa.Array | None = None) -> None:
    """Write one file of the source, with two rows."""
    (folder / "rows").mkdir(exist_ok=True)
    times = at if at is not None else pa.array([datetime(2024, 1, 1)] * 2, pa.timestamp("us"))
    table = pa.table({"id": [1, 2], "at": times, "y": [0, 1], "x": x})
    pq.write_table(table, folder / "rows" / name)


@pytest.mark.parametrize(
    ("other", "type_"),
    [
        (pa.array(["1", "2"]), "string"),
        (pa.array([[1.0], [2.0]]), "list<element: double>"),
        (pa.array([True, False]), "bool"),
    ],
)
def test_a_file_whose_column_has_another_type_is_named_and_nothing_is_written(tmp_path, other, type_):
    write(tmp_path, "a.parquet", pa.array([1.0, 2.0]))
    write(tmp_path, "b.parquet", other)

    with pytest.raises(InputError) as caught:
        logic.ingest(PROJECT, str(tmp_path), tmp_path / "snapshot")

    assert f"the column 'x' has the type double in a.parquet and {type_} in b.parquet; expected one" in str(
        caught.value
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]


def test_files_join_where_only_the_precision_differs_or_one_has_no_value(tmp_path):
    write(tmp_path, "a.parquet", pa.array([1, 2], pa.int32()))
    write(tmp_path, "b.parquet", pa.array([0.5, None]), at=pa.array([date(2024, 1, 2)] * 2))
    write(tmp_path, "c.parquet", pa.nulls(2))
    logic.ingest(PROJECT, str(tmp_path), tmp_path / "snapshot")

    assert pq.read_table(tmp_path / "snapshot" / "rows.parquet")["x"].to_pylist() == [1.0, 2.0, 0.5, None, None, None]


@pytest.mark.parametrize("kept", [0, 200])
def test_a_file_that_cannot_be_read_is_named(tmp_path, kept):
    write(tmp_path, "a.parquet", pa.array([1.0, 2.0]))
    write(tmp_path, "b.parquet", pa.array([1.0, 2.0]))
    damaged = tmp_path / "rows" / "b.parquet"
    damaged.write_bytes(damaged.read_bytes()[:kept])

    with pytest.raises(InputError, match=r"source 'rows': .*b\.parquet.*expected a parquet file"):
        logic.ingest(PROJECT, str(tmp_path), tmp_path / "snapshot")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows"]
