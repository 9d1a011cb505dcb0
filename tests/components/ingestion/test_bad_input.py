"""Each kind of bad input is one sentence that names what is wrong, and leaves nothing behind."""

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic
from components.shared.errors import InputError
from components.shared.project import Project

GOOD = b"id,at,y\n1,2024-01-01,0\n2,2024-01-02,1\n"


def refuse(folder: Path, content: bytes | None, *, name: str = "table.csv", **keys: Any) -> str:
    """Ingest one file, expect a refusal, and return its sentence."""
    if content is not None:
        (folder / name).write_bytes(content)
    before = sorted(folder.iterdir())
    values: dict[str, Any] = {
        "name": "trial",
        "task": "binary",
        "entity": "id",
        "event_time": "at",
        "sources": {"table": {"path": name}},
        "label": {"source": "table", "column": "y"},
        "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
    }
    project = Project.model_validate(values | keys)
    with pytest.raises(InputError) as caught:
        logic.ingest(project, str(folder), folder / "snapshot")
    sentence = str(caught.value)

    assert sorted(folder.iterdir()) == before
    assert "\n" not in sentence
    assert "; expected" in sentence or "Did you mean" in sentence or "it has" in sentence
    return sentence


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "the file table.csv does not exist" in refuse(tmp_path, None)


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    assert "has no rows" in refuse(tmp_path, b"id,at,y\n")


def test_an_empty_file_has_no_header(tmp_path: Path) -> None:
    assert "is empty" in refuse(tmp_path, b"")


@pytest.mark.parametrize(
    ("time", "said"), [("31.12.2024", "'31.12.2024'"), ("20240131", "'20240131'"), ("", "missing")]
)
def test_a_time_that_does_not_parse_is_shown_with_its_row(tmp_path: Path, time: str, said: str) -> None:
    sentence = refuse(tmp_path, GOOD + f"3,{time},0\n".encode())

    assert "row 3" in sentence
    assert said in sentence


def test_a_bad_time_far_before_the_end_of_a_large_file_is_shown_with_its_row(tmp_path: Path) -> None:
    assert "row 3" in refuse(tmp_path, GOOD + b"3,31.12.2024,0\n" + b"4,2024-01-01,0\n" * 120_000)


def test_the_first_byte_that_is_not_utf8_is_located_and_shown_in_the_likely_encoding(tmp_path: Path) -> None:
    sentence = refuse(tmp_path, GOOD + "3,2024-01-01,Zürich\n".encode("latin-1"))

    assert f"byte {len(GOOD) + len('3,2024-01-01,Z')} of table.csv (line 4) is 0xfc" in sentence
    assert "In windows-1252 it is 'ü': if that is right, set 'encoding: windows-1252'" in sentence


def test_a_byte_that_is_no_letter_anywhere_is_no_hint_at_an_encoding(tmp_path: Path) -> None:
    sentence = refuse(tmp_path, GOOD + b"3,2024-01-01,\x81\n")

    assert "windows" not in sentence


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'id,at,"y' + b"x" * 5000 + b"\n1,2024-01-01,0\n", "a name with more than 1,000 characters"),
        (b'id,at,"y\n' + b"1,2024-01-01,0\n" * 20_000, 'Close the quote (")'),
        (b"x" * 200_000 + b",y\n", "a name with more than 1,000 characters"),
        (GOOD + b"3,2024-01-01," + b"x" * 3_000_000 + b"\n", "line 4 is malformed (Maximum line size"),
        (GOOD + b'3,2024-01-01,"0\n', "line 4 is malformed (Value with unterminated quote"),
        (b"Customers 2024\n\n" + GOOD, "line 1 of table.csv is 'Customers 2024', which looks like a title; expected"),
        (b"Customers 2024,,\n" + GOOD, "seem to be in line 2"),
        (b"PK\x03\x04\x00\x00spreadsheet,id,at,y\n", "table.csv holds a zero byte, which no text has"),
        (b"1,2024-01-01,0\n2,2024-01-02,1\n", "Its first row seems to hold values: add a header row"),
        ("id,at,y,é,e\u0301\n1,2024-01-01,0,1,2\n".encode(), "composed differently in Unicode (U+00E9 and U+0301)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_no_table_is_told_its_true_cause_in_a_short_sentence(
    tmp_path: Path, content: bytes, said: str
) -> None:
    sentence = refuse(tmp_path, content)

    assert said in sentence
    assert len(sentence) < 600


def test_a_name_composed_otherwise_is_told_from_a_wrong_one(tmp_path: Path) -> None:
    sentence = refuse(tmp_path, "e\u0301,at,y\n1,2024-01-01,0\n".encode(), entity="é")

    assert "whose letters are composed differently in Unicode (U+0301 instead of U+00E9)" in sentence


def test_a_damaged_gzip_file_is_said_to_be_one(tmp_path: Path) -> None:
    sources = {"table": {"path": "table.csv.gz"}}

    assert "not a complete gzip file" in refuse(
        tmp_path, gzip.compress(GOOD)[:-9], name="table.csv.gz", sources=sources
    )


def test_a_character_cut_off_at_the_end_is_located(tmp_path: Path) -> None:
    assert f"byte {len(GOOD)} of" in refuse(tmp_path, GOOD + "ü".encode()[:1])


@pytest.mark.parametrize(
    ("labels", "keys", "said"),
    [
        ("abc", {}, "has 3 values such as ['a', 'b', 'c']; expected two for a binary task"),
        ("abc", {"task": "regression"}, "expected numbers for a regression"),
        ("ab", {"label": {"source": "table", "column": "y", "positive": "c"}}, "label.positive is 'c', which is not"),
    ],
)
def test_labels_of_another_task_are_refused_before_the_next_step(
    tmp_path: Path, labels: str, keys: dict[str, Any], said: str
) -> None:
    rows = "".join(f"{n},2024-01-01,{label}\n" for n, label in enumerate(labels))

    assert said in refuse(tmp_path, f"id,at,y\n{rows}".encode(), **keys)


def test_more_columns_than_allowed_are_counted(tmp_path: Path) -> None:
    assert "has 3 columns; expected at most 2" in refuse(tmp_path, GOOD, limits={"columns": 2})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"entity": "ID_"}, "'ID_' (entity)"),
        ({"event_time": "att"}, "'att' (event_time)"),
        ({"label": {"source": "table", "column": "yy"}}, "'yy' (label.column)"),
        ({"sources": {"table": {"path": "table.csv", "time": "ta"}}}, "'ta' (sources.table.time)"),
        ({"validation": {"segment_columns": {"table": ["z"]}}}, "'z' (validation.segment_columns.table)"),
    ],
)
def test_an_unknown_column_is_named_with_the_key_that_names_it(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    assert f"has no column {said}" in refuse(tmp_path, GOOD, **keys)


def test_the_nearest_known_column_is_offered(tmp_path: Path) -> None:
    label = {"source": "table", "column": "chrun"}

    assert "Did you mean 'churn'?" in refuse(tmp_path, b"id,at,churn\n1,2024-01-01,1\n", label=label)


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    assert "'y' and 'Y'" in refuse(tmp_path, b"id,at,y,Y\n1,2024-01-01,0,0\n")


def test_a_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    assert "control character" in refuse(tmp_path, b'id,at,y,"a\nb"\n1,2024-01-01,0,0\n')


@pytest.mark.parametrize("name", ["../table", "a/b", "a\\b", "Table"])
def test_a_source_whose_name_is_no_file_name_is_not_a_project(name: str) -> None:
    values = {
        "name": "trial",
        "task": "binary",
        "entity": "id",
        "event_time": "at",
        "sources": {name: {"path": "table.csv"}},
        "label": {"source": "table", "column": "y"},
        "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
    }
    with pytest.raises(ValueError, match=r"sources"):
        Project.model_validate(values)


def test_a_row_with_too_many_values_is_located(tmp_path: Path) -> None:
    sentence = refuse(tmp_path, GOOD + b"3,2024-01-01,0,9,9\n")

    assert "line 4 is malformed" in sentence


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path: Path) -> None:
    sources = {"table": {"path": "table.parquet"}}

    assert "not a valid parquet file" in refuse(tmp_path, b"id,at,y", name="table.parquet", sources=sources)


def test_a_nested_column_that_the_project_names_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [[1]], "at": ["2024-01-01"], "y": [0]}), tmp_path / "table.parquet")

    assert "'id' has the type BIGINT[]" in refuse(tmp_path, None, name="table.parquet")


def test_names_of_a_parquet_file_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    columns = {"id": [1, 2], "at": ["2024-01-01"] * 2, "y": [0, 1], "Y": [0, 1]}
    pq.write_table(pa.table(columns), tmp_path / "table.parquet")

    assert "'y' and 'Y'" in refuse(tmp_path, None, name="table.parquet")


def test_a_query_cannot_do_anything_but_ask(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "duck.db")) as duck:
        duck.execute("CREATE TABLE t AS SELECT 1 AS id, '2024-01-01' AS at, 0 AS y")
    for query in ("SELECT 1); DROP TABLE t; --", "INSTALL httpfs", "DROP TABLE t"):
        sources = {"table": {"database": "duckdb:///duck.db", "query": query}}
        assert "the database query failed" in refuse(tmp_path, None, sources=sources)
    with duckdb.connect(str(tmp_path / "duck.db")) as duck:
        assert duck.execute("SELECT count(*) FROM t").fetchall() == [(1,)]


def test_a_database_file_that_is_absent_is_named_and_not_created(tmp_path: Path) -> None:
    for database in ("duckdb:///none.db", "sqlite:///none.db"):
        sources = {"table": {"database": database, "query": "SELECT 1"}}
        assert "none.db" in refuse(tmp_path, None, sources=sources)
