"""What a database answers arrives as it was, or is refused by the column's name."""

import os
from datetime import timedelta
from decimal import Decimal
from ipaddress import ip_interface
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic, staged
from components.shared.errors import InputError
from components.shared.project import Project


def project(database: str, query: str, **source: Any) -> Project:
    return Project.model_validate(
        {
            "name": "trial",
            "task": "binary",
            "entity": "id",
            "event_time": "day",
            "sources": {"table": {"database": database, "query": query} | source},
            "label": {"source": "table", "column": "y"},
            "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
        }
    )


def written(folder: Path, *chunks: list[Any]) -> list[Any]:
    """Stage a column 'x' in chunks and read it back."""
    staged.write("table", ["x"], [[(value,) for value in chunk] for chunk in chunks], folder / "rows")
    return [row["x"] for path in sorted((folder / "rows").iterdir()) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize(
    "chunks",
    [
        ([Decimal(2**53 + 1)], [None, Decimal(10**37 + 1)]),
        ([2**53 + 1], [2**63]),
        ([None], [Decimal(2**53 + 1)], [2**60]),
    ],
)
def test_integers_of_any_length_keep_all_their_digits(tmp_path: Path, chunks: tuple[list[Any], ...]) -> None:
    assert written(tmp_path, *chunks) == [value for chunk in chunks for value in chunk]


def test_decimal_places_make_floats_even_where_a_chunk_has_none(tmp_path: Path) -> None:
    assert written(tmp_path, [Decimal(5), None], [Decimal("2.50"), 3]) == [5.0, None, 2.5, 3.0]
    assert {pq.read_schema(part).field("x").type for part in (tmp_path / "rows").iterdir()} == {pa.float64()}


def test_integers_beyond_the_widest_type_become_floats(tmp_path: Path) -> None:
    values = written(tmp_path, [Decimal(10**38 - 1), Decimal(1)], [Decimal(10**38)])

    assert values == [float(10**38), 1.0, float(10**38)]


def test_a_column_without_values_is_text(tmp_path: Path) -> None:
    assert written(tmp_path, [None], [None]) == [None, None]
    assert {pq.read_schema(part).field("x").type for part in (tmp_path / "rows").iterdir()} == {pa.string()}


@pytest.mark.parametrize("value", [UUID(int=5), ip_interface("10.0.0.1/24"), ip_interface("::1")])
def test_identifiers_and_addresses_become_texts(tmp_path: Path, value: Any) -> None:
    assert written(tmp_path, [None, value]) == [None, str(value)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([timedelta(seconds=5)], r"'x' has intervals; .* such as EXTRACT\(EPOCH FROM x\)"),
        ([Path("a")], r"'x' has the type PosixPath; .* such as CAST\(x AS text\)"),
        ([1, "a"], "'x' has values of several types"),
    ],
)
def test_values_that_no_table_has_are_refused_by_the_columns_name(
    tmp_path: Path, values: list[Any], expected: str
) -> None:
    with pytest.raises(InputError, match=f"source 'table': column {expected}"):
        written(tmp_path, values)


TWO_NAMES = "SELECT 1 AS id, '2024-01-01' AS day, 0 AS y, 2 AS \"Id\""


def test_names_that_differ_in_case_only_are_refused_and_not_renamed(tmp_path: Path) -> None:
    duckdb.connect(str(tmp_path / "shop.db")).close()

    with pytest.raises(InputError, match="has the columns 'id' and 'Id'"):
        logic.ingest(project("duckdb:///shop.db", TWO_NAMES), str(tmp_path), tmp_path / "snapshot")


@pytest.fixture
def postgres() -> str:
    address = os.environ.get("PERENNIAL_POSTGRES")
    if not address:
        pytest.skip("PERENNIAL_POSTGRES names no database, such as postgresql+psycopg://127.0.0.1/test")
    return address


def test_postgres_answers_patterns_exact_keys_and_addresses(tmp_path: Path, postgres: str) -> None:
    query = (
        "SELECT * FROM (VALUES (9007199254740993::numeric(38), DATE '2024-01-01', 0, 'west', inet '10.0.0.1', 1.5::"
        "numeric), (9007199254740992, DATE '2024-01-02', 1, 'east', inet '10.0.0.2', 2)) AS t(id, day, y, x, ip, p) "
        "WHERE x LIKE 'w%' OR x LIKE '%:east' OR x = 'east'"
    )
    logic.ingest(project(postgres, query), str(tmp_path), tmp_path / "snapshot")
    table = pq.read_table(tmp_path / "snapshot" / "table.parquet")

    assert sorted(table["id"].to_pylist()) == [2**53, 2**53 + 1]
    assert set(table["x"].to_pylist()) == {"west", "east"}
    assert {text.partition("/")[0] for text in table["ip"].to_pylist()} == {"10.0.0.1", "10.0.0.2"}
    assert sorted(table["p"].to_pylist()) == [1.5, 2.0]


def test_postgres_intervals_are_refused_and_not_turned_into_microseconds(tmp_path: Path, postgres: str) -> None:
    query = "SELECT 1 AS id, DATE '2024-01-01' AS day, 0 AS y, interval '1 day' AS x"

    with pytest.raises(InputError, match=r"column 'x' has intervals; .*EXTRACT\(EPOCH FROM x\)"):
        logic.ingest(project(postgres, query), str(tmp_path), tmp_path / "snapshot")


def test_postgres_names_that_differ_in_case_only_are_refused(tmp_path: Path, postgres: str) -> None:
    with pytest.raises(InputError, match="has the columns 'id' and 'Id'"):
        logic.ingest(project(postgres, TWO_NAMES), str(tmp_path), tmp_path / "snapshot")
