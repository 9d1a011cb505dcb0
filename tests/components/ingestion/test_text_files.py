"""Text files are read whatever program wrote them: their encoding, line ends, compression and first line."""

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic, text_copy
from components.shared.project import Project

TEXT = 'id,at,city,y\n1,2024-01-01,"Zürich, ""Altstadt""",0\n2,2024-01-02,Öl,1\n'
ROWS = [("1", 'Zürich, "Altstadt"', 0), ("2", "Öl", 1)]


def ingested(folder: Path, content: bytes, name: str = "table.csv", **source: Any) -> list[tuple[Any, ...]]:
    (folder / name).write_bytes(content)
    project = Project.model_validate(
        {
            "name": "trial",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"table": {"path": name, **source}},
            "label": {"source": "table", "column": "y"},
            "features": {"service": "trial_v1", "columns": {"city": {"type": "categorical"}}},
        }
    )
    logic.ingest(project, str(folder), folder / "snapshot")
    table = pq.read_table(folder / "snapshot" / "table.parquet").to_pydict()
    return [(str(n), city, y) for n, city, y in zip(table["id"], table["city"], table["y"], strict=True)]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"], ids=lambda encoding: encoding
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_unicode_is_read_in_each_encoding_with_each_line_end(tmp_path, encoding, end):
    assert ingested(tmp_path, TEXT.replace("\n", end).encode(encoding)) == ROWS


def test_mixed_line_ends_are_read(tmp_path):
    assert ingested(tmp_path, TEXT.replace("\n", "\r\n", 1).encode()) == ROWS
    assert ingested(tmp_path, (TEXT + "3,2024-01-03,Ems,1\r\n").encode()) == [*ROWS, ("3", "Ems", 1)]


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_a_line_end_or_letter_that_is_cut_in_two_by_a_block_is_read(tmp_path, monkeypatch, block):
    monkeypatch.setattr(text_copy, "_BLOCK", block)

    assert ingested(tmp_path, TEXT.replace("\n", "\r\n", 2).encode()) == ROWS
    assert ingested(tmp_path, TEXT.encode("utf-16")) == ROWS


def test_a_declared_encoding_is_read(tmp_path):
    assert ingested(tmp_path, TEXT.encode("windows-1252"), encoding="windows-1252") == ROWS


@pytest.mark.parametrize("name", ["table.csv.gz", "TABLE.CSV.GZ"])
def test_a_compressed_file_is_read(tmp_path, name):
    assert ingested(tmp_path, gzip.compress(TEXT.encode("utf-16")), name) == ROWS


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n"])
def test_the_line_that_names_the_delimiter_is_followed(tmp_path, first):
    text = TEXT.replace("Zürich, ", "Zürich@ ").replace(",", ";").replace("@", ",")

    assert ingested(tmp_path, (first + text).encode()) == ROWS


def test_an_ordinary_file_is_not_copied(tmp_path):
    for end in ("\n", "\r\n"):
        (tmp_path / "table.csv").write_bytes(TEXT.replace("\n", end).encode())
        assert text_copy.readable("table", tmp_path / "table.csv", tmp_path / "copy") == tmp_path / "table.csv"
    assert not (tmp_path / "copy").exists()


def test_columns_without_single_values_are_left_out(tmp_path, caplog):
    columns = {"id": [1, 2], "at": ["2024-01-01"] * 2, "city": ["a", "b"], "y": [0, 1]}
    nested = columns | {"basket": [[1, 2], [3]], "place": [{"x": 1}, {"x": 2}], "photo": [b"\0", b"\1"]}
    pq.write_table(pa.table(nested), tmp_path / "source.parquet")

    assert ingested(tmp_path, (tmp_path / "source.parquet").read_bytes(), "table.parquet") == [
        ("1", "a", 0),
        ("2", "b", 1),
    ]
    assert pq.read_schema(tmp_path / "snapshot" / "table.parquet").names == list(columns)
    assert "column 'basket' is left out: it has the type BIGINT[]" in caplog.text
