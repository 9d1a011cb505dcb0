"""A snapshot holds what its sources hold, typed, in bytes that depend on nothing but the content."""

import csv
import math
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.ingestion import logic
from components.shared.blank import clean
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.project import Project


def project(source: dict[str, Any], **keys: Any) -> Project:
    values: dict[str, Any] = {
        "name": "trial",
        "task": "binary",
        "entity": "id",
        "event_time": "at",
        "sources": {"table": source},
        "label": {"source": "table", "column": "y"},
        "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
    }
    return Project.model_validate(values | keys)


def read(folder: Path, content: str | bytes, **source: Any) -> pa.Table:
    """Ingest one CSV file and return the snapshot's table."""
    (folder / "table.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    logic.ingest(project({"path": "table.csv"} | source), str(folder), folder / "snapshot")
    return pq.read_table(folder / "snapshot" / "table.parquet")


def column(folder: Path, *values: str, **source: Any) -> pa.ChunkedArray:
    rows = "".join(f'{n},2024-01-01,1,"{value}"\n' for n, value in enumerate(values))
    return read(folder, "id,at,y,x\n" + rows, **source)["x"]


def test_whole_numbers_keep_their_zeros(tmp_path: Path) -> None:
    assert column(tmp_path, "10", "0", "-200", " 30 ").to_pylist() == [10, 0, -200, 30]


def test_blank_values_among_numbers_are_missing_and_the_others_stay_numbers(tmp_path: Path) -> None:
    assert column(tmp_path, "29.85", " ", "1889.5", "").to_pylist() == [29.85, None, 1889.5, None]


def test_a_text_after_thousands_of_numbers_makes_the_column_text(tmp_path: Path) -> None:
    values = column(tmp_path, *(str(n) for n in range(1500)), "n/a")

    assert values.type == pa.string()
    assert values[-1].as_py() == "n/a"


def test_null_values_of_the_source_are_missing(tmp_path: Path) -> None:
    assert column(tmp_path, "1.5", "n/a", "?", null_values=["n/a", "?"]).to_pylist() == [1.5, None, None]


@pytest.mark.parametrize("code", ["007", "-01", "12345678901234567890", "1_000", "0x1F", "1E2", "10e1"])
def test_codes_that_a_number_would_distort_stay_texts(tmp_path: Path, code: str) -> None:
    assert column(tmp_path, "1", code).to_pylist() == ["1", code]


@pytest.mark.parametrize("number", ["1.5e3", "1e+16", "1e-05", "2."])
def test_numbers_as_programs_write_them_are_no_codes(tmp_path: Path, number: str) -> None:
    assert column(tmp_path, "1", number).to_pylist() == [1.0, float(number)]


def test_nan_is_missing_and_not_a_number(tmp_path: Path) -> None:
    assert column(tmp_path, "1.5", "NaN").to_pylist() == [1.5, None]


def test_truth_values_and_times_are_recognised(tmp_path: Path) -> None:
    assert column(tmp_path, "true", "FALSE", "").to_pylist() == [True, False, None]
    assert column(tmp_path, "2024-05-01", "2024-05-01T12:00:00+02:00").to_pylist() == [
        datetime(2024, 5, 1),
        datetime(2024, 5, 1, 10),
    ]


def test_a_column_without_values_is_a_number_where_the_project_says_so(tmp_path: Path) -> None:
    table = read(tmp_path, "id,at,y,x,z\n1,2024-01-01,1,,\n")

    assert table["x"].type == pa.float64()
    assert table["z"].type == pa.string()


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(tmp_path: Path, mark: str) -> None:
    table = read(tmp_path, "\ufeffid,at,y,x\r\n1,2024-01-01,0,ä\r\n".replace(",", mark))

    assert table.to_pylist() == [{"id": 1, "at": datetime(2024, 1, 1), "y": 0, "x": "ä"}]


def test_names_with_spaces_quotes_dots_and_letters_of_all_kinds_survive(tmp_path: Path) -> None:
    names = ['a "b" c', "x.y", "od280/od315", "Größe", "select", "a'b"]
    with (tmp_path / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["id", "at", "y", *names], [1, "2024-01-01", 0, *range(6)]])
    logic.ingest(project({"path": "table.csv"}), str(tmp_path), tmp_path / "snapshot")

    assert pq.read_table(tmp_path / "snapshot" / "table.parquet").column_names == ["id", "at", "y", *names]


def test_a_file_name_with_glob_characters_is_that_file_and_no_pattern(tmp_path: Path) -> None:
    (tmp_path / "a1.csv").write_text("id,at,y\n1,2024-01-01,wrong\n")
    (tmp_path / "a[1].csv").write_text("id,at,y\n1,2024-01-01,right\n")
    logic.ingest(project({"path": "a[1].csv"}), str(tmp_path), tmp_path / "snapshot")

    assert pq.read_table(tmp_path / "snapshot" / "table.parquet")["y"].to_pylist() == ["right"]


cells = st.one_of(
    st.none(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(cells, min_size=1, max_size=40))
def test_numbers_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, values: list[Any]) -> None:
    found = column(tmp_path_factory.mktemp("numbers"), *("" if value is None else repr(value) for value in values))

    assert found.type in (pa.int64(), pa.float64())
    assert [None if each is None else float(each) for each in found.to_pylist()] == [
        None if value is None else float(value) for value in values
    ]


@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=["Cs"]))))
def test_texts_come_back_clean_and_otherwise_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerows([["id", "at", "y", "x"], [0, "2024-01-01", 1, "text"]])
        writer.writerows([n, "2024-01-01", 1, value] for n, value in enumerate(values))
    logic.ingest(project({"path": "table.csv"}), str(folder), folder / "snapshot")
    found = pq.read_table(folder / "snapshot" / "table.parquet")["x"].to_pylist()[1:]

    assert found == [clean(value) or None for value in values]


def test_equal_content_gives_equal_bytes_and_other_content_another_hash(tmp_path: Path) -> None:
    rows = pa.table({"id": range(250_000), "at": [datetime(2024, 1, 1)] * 250_000, "y": [0, 1] * 125_000})
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, group in ((first, 1000), (second, 77_777)):
        folder.mkdir()
        pq.write_table(rows, folder / "table.parquet", row_group_size=group)
        logic.ingest(project({"path": "table.parquet"}), str(folder), folder / "snapshot")
    changed = rows.set_column(2, "y", pa.array([1, 1] + [0, 1] * 124_999))
    pq.write_table(changed, tmp_path / "table.parquet")
    other = logic.ingest(project({"path": "table.parquet"}), str(tmp_path), tmp_path / "snapshot")

    for name in ("table.parquet", "snapshot.json"):
        assert (first / "snapshot" / name).read_bytes() == (second / "snapshot" / name).read_bytes()
    assert other.content_hash != SnapshotDescription.read(first / "snapshot").content_hash
    assert other.rows == 250_000


def test_types_of_parquet_become_the_five_of_a_snapshot(tmp_path: Path) -> None:
    zone = pa.timestamp("ns", tz="Europe/Berlin")
    table = pa.table(
        {
            "id": pa.array(["a"]).dictionary_encode(),
            "at": pa.array([datetime(2024, 7, 1, 10)], pa.timestamp("us", tz="UTC")).cast(zone),
            "y": pa.array([1], pa.uint8()),
            "x": pa.array([math.nan], pa.float32()),
            "d": pa.array([1.25]).cast(pa.decimal128(10, 2)),
        }
    )
    pq.write_table(table, tmp_path / "table.parquet")
    logic.ingest(project({"path": "table.parquet"}), str(tmp_path), tmp_path / "snapshot")
    described = SnapshotDescription.read(tmp_path / "snapshot").tables["table"]

    assert described.columns == {"id": "VARCHAR", "at": "TIMESTAMP", "y": "BIGINT", "x": "DOUBLE", "d": "DOUBLE"}
    assert described.time_range == ("2024-07-01T10:00:00+00:00",) * 2
    assert pq.read_table(tmp_path / "snapshot" / "table.parquet")["x"].to_pylist() == [None]


def test_a_folder_of_parquet_files_is_one_table(tmp_path: Path) -> None:
    for day in (1, 2):
        folder = tmp_path / "table" / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"id": [day], "at": ["2024-01-01"], "y": [0]}), folder / "rows.parquet")
    logic.ingest(project({"path": "table"}), str(tmp_path), tmp_path / "snapshot")

    assert pq.read_table(tmp_path / "snapshot" / "table.parquet")["day"].to_pylist() == [1, 2]


def test_rows_are_numbered_and_timed_where_the_table_has_neither(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("y\nno\nyes\n")
    source = {"path": "table.csv", "row_number": "id", "time": "at", "constant_time": "2020-01-01T00:00:00Z"}
    logic.ingest(project(source), str(tmp_path), tmp_path / "snapshot")

    assert pq.read_table(tmp_path / "snapshot" / "table.parquet").to_pylist() == [
        {"y": "no", "id": 1, "at": datetime(2020, 1, 1)},
        {"y": "yes", "id": 2, "at": datetime(2020, 1, 1)},
    ]


def test_a_database_gives_the_same_bytes_in_whatever_order_it_answers(tmp_path: Path) -> None:
    rows = [(n, f"2024-01-{1 + n % 28:02d}", n % 2, None if n % 7 == 0 else n / 3) for n in range(200)]
    with sqlite3.connect(tmp_path / "lite.db") as lite:
        lite.execute("CREATE TABLE t (id INTEGER, at TEXT, y INTEGER, x REAL)")
        lite.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    with duckdb.connect(str(tmp_path / "duck.db")) as duck:
        duck.execute('CREATE TABLE t (id BIGINT, "at" TEXT, y BIGINT, x DOUBLE)')
        duck.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    queries = {
        "lite": ("sqlite:///lite.db", "SELECT * FROM t ORDER BY id DESC;"),
        "duck": ("duckdb:///duck.db", "SELECT * FROM t ORDER BY x -- no last line"),
    }
    found = {}
    for name, (database, query) in queries.items():
        logic.ingest(project({"database": database, "query": query}), str(tmp_path), tmp_path / name)
        found[name] = (tmp_path / name / "table.parquet").read_bytes()

    assert found["lite"] == found["duck"]
    assert pq.read_table(tmp_path / "lite" / "table.parquet")["x"].null_count == 29


def test_a_snapshot_replaces_the_one_before_and_nothing_else_stays(tmp_path: Path) -> None:
    read(tmp_path, "id,at,y\n1,2024-01-01,0\n")
    read(tmp_path, "id,at,y\n1,2024-01-01,0\n2,2024-01-01,1\n")

    assert sorted(path.name for path in (tmp_path / "snapshot").iterdir()) == ["snapshot.json", "table.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["snapshot", "table.csv"]


def test_a_folder_holds_the_parts_of_a_table_whatever_their_suffix_and_not_what_a_writer_left_beside_them(tmp_path):
    part = pa.table({"id": ["1"], "at": ["2024-01-01"], "y": [1]})
    parts = ("a.parquet", "b.PARQUET", "c.pq", "sub/d[1].parquet")
    leftovers = ("_temporary/0/e.parquet", ".hidden.parquet", ".cache/f.parquet", "_metadata.parquet")
    for name in (*parts, *leftovers):
        (tmp_path / "table" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(part, tmp_path / "table" / name)
    (tmp_path / "table" / "_SUCCESS").touch()

    described = logic.ingest(project({"path": "table"}), str(tmp_path), tmp_path / "snapshot")

    assert described.tables["table"].rows == len(parts)
