"""A project's own SQL reads what no rule could guess, and nothing is lost in silence."""

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import header, logic
from components.shared.documents.snapshot import SnapshotDescription
from components.shared.errors import InputError
from components.shared.project import Project

DATE = "try_strptime(\"at\", '%d.%m.%Y')"


def ingested(folder: Path, content: str, **source: Any) -> pa.Table:
    (folder / "sales.csv").write_text(content, encoding="utf-8")
    project = Project.model_validate(
        {
            "name": "sales",
            "task": "regression",
            "entity": "id",
            "event_time": "at",
            "sources": {"sales": {"path": "sales.csv"} | source},
            "label": {"source": "sales", "column": "price"},
            "features": {"service": "sales_v1", "columns": {"x": {"type": "numeric"}}},
        }
    )
    logic.ingest(project, str(folder), folder / "snapshot")
    return pq.read_table(folder / "snapshot" / "sales.parquet")


def test_a_label_and_an_event_time_are_converted_like_any_column(tmp_path: Path) -> None:
    number = "CAST(replace(replace(price, '.', ''), ',', '.') AS DOUBLE)"

    table = ingested(
        tmp_path,
        'id,at,price\n1, 31.12.2023 ,"1.234,50"\n2,01.02.2024,"7,5"\n',
        convert={"at": DATE, "price": number},
    )

    assert table["at"].to_pylist() == [datetime(2023, 12, 31), datetime(2024, 2, 1)]
    assert table["price"].to_pylist() == [1234.5, 7.5]


def test_the_sql_sees_clean_texts_and_no_null_values_and_its_texts_get_a_type(tmp_path: Path) -> None:
    rows = "id,at,price,x\n1,2024-01-01,1,<5>\n2,2024-01-01,2, ? \n3,2024-01-01,3,\u00a0<7>\u00a0\n"

    table = ingested(tmp_path, rows, null_values=["?"], convert={"x": "x[2:-2] -- without the brackets"})

    assert table["x"].to_pylist() == [5, None, 7]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("strptimes(price, '%d')", r"'convert' of 'at' fails \(Catalog Error.*strptimes"),
        ("try_strptime(no_column, '%Y')", r"'convert' of 'at' fails \(Binder Error.*no_column"),
        ("strptime(\"at\", '%Y')", r"'convert' of 'at' fails \(Invalid Input Error"),
        ("price) FROM sales --", r"'convert' of 'at' fails \(Parser Error"),
        (DATE, r"can't convert 1 of 2 values of 'at', first '30.02.2024'; expected a result for each"),
    ],
)
def test_sql_that_fails_or_loses_a_time_is_refused_with_the_value(tmp_path: Path, sql: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        ingested(tmp_path, "id,at,price\n1,31.12.2023,1\n2,30.02.2024,2\n", convert={"at": sql})


def test_a_conversion_that_makes_every_value_missing_is_refused_and_one_that_loses_some_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "id,at,price,x\n1,2024-01-01,1,5 kg\n2,2024-01-01,2,heavy\n"
    with pytest.raises(
        InputError, match="can't convert 2 of 2 values of 'x', first '5 kg'; expected a result for most"
    ):
        ingested(tmp_path, rows, convert={"x": "TRY_CAST(x AS DOUBLE)"})
    with caplog.at_level(logging.WARNING):
        table = ingested(tmp_path, rows, convert={"x": "TRY_CAST(replace(x, ' kg', '') AS DOUBLE)"})

    assert table["x"].to_pylist() == [5.0, None]
    assert "1 values of 'x' can't be converted, first 'heavy'" in caplog.text
    assert SnapshotDescription.read(tmp_path / "snapshot").tables["sales"].unconverted == {"x": 1}


def test_a_conversion_of_an_unknown_column_suggests_the_right_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no column 'prise' \(sources.sales.convert\).*Did you mean 'price'"):
        ingested(tmp_path, "id,at,price\n1,2024-01-01,1\n", convert={"prise": "1"})


def test_a_row_that_repeats_the_header_is_left_out_and_counted(tmp_path: Path) -> None:
    header = "id,at,price,note"
    table = ingested(tmp_path, f"{header}\n1,2024-01-01,1,note\n{header}\n2,2024-01-01,2,\n{header}\r\n")

    assert table["price"].to_pylist() == [1, 2]
    assert table["note"].to_pylist() == ["note", None]
    assert SnapshotDescription.read(tmp_path / "snapshot").tables["sales"].repeated_headers == 2


@pytest.mark.parametrize(
    ("content", "repeats"),
    [
        ("a,b\n1,2\n", 0),
        ("a,b\na,b\na,b\n1,2", 2),
        ("a,b\n1,2\na,b", 1),
        ("a,b\r\n1,2\r\na,b\r\n", 1),
        ("a,b\na,bc\nxa,b\n", 0),
        ("sep=,\na,b\n1,2\na,b\n", 1),
        ("a\na\na\n", 0),
    ],
)
def test_lines_are_counted_that_repeat_the_header_and_nothing_else(tmp_path: Path, content: str, repeats: int) -> None:
    (tmp_path / "t.csv").write_bytes(content.encode())

    assert header.repeats(tmp_path / "t.csv", header.read("t", tmp_path / "t.csv")) == repeats


def test_the_index_that_a_writer_put_first_gets_a_name_and_blanks_around_names_go(tmp_path: Path) -> None:
    table = ingested(tmp_path, ", id,at , price\n0,7,2024-01-01,1\n1,8,2024-01-01,2\n")

    assert table.column_names == ["Unnamed: 0", "id", "at", "price"]
