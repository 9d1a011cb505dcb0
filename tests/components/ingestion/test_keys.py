"""A key is the same in every table after ingestion as before, or the table is refused."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingestion import logic
from components.shared.errors import InputError
from components.shared.project import Project

BEYOND_DOUBLE = [2**53, 2**53 + 1]


def ingested(folder: Path, **tables: pa.Table | str) -> dict[str, list[Any]]:
    """Ingest tables, of which 'labels' has the labels; return the keys of each."""
    sources = {}
    for name, table in tables.items():
        sources[name] = {"path": f"{name}.csv" if isinstance(table, str) else f"{name}.parquet"}
        if isinstance(table, str):
            (folder / f"{name}.csv").write_text(table, encoding="utf-8")
        else:
            pq.write_table(table, folder / f"{name}.parquet")
    project = Project.model_validate(
        {
            "name": "trial",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": sources,
            "label": {"source": "labels", "column": "y"},
            "features": {"service": "trial_v1", "columns": {"x": {"type": "numeric"}}},
        }
    )
    logic.ingest(project, str(folder), folder / "snapshot")
    return {name: pq.read_table(folder / "snapshot" / f"{name}.parquet")["id"].to_pylist() for name in tables}


def labels(keys: pa.Array) -> pa.Table:
    return pa.table({"id": keys, "at": ["2024-01-01"] * len(keys), "y": [0, 1] * (len(keys) // 2)})


@pytest.mark.parametrize("type_", [pa.uint64(), pa.decimal128(38, 0), pa.decimal128(18, 0)])
def test_integers_that_a_double_would_round_stay_exact(tmp_path: Path, type_: pa.DataType) -> None:
    keys = pa.array(list(map(Decimal, BEYOND_DOUBLE)) if pa.types.is_decimal(type_) else BEYOND_DOUBLE, type_)

    assert ingested(tmp_path, labels=labels(keys)) == {"labels": BEYOND_DOUBLE}


@pytest.mark.parametrize(
    ("type_", "keys"),
    [(pa.uint64(), [2**63, 2**64 - 1]), (pa.decimal128(38, 0), [Decimal(10**37), Decimal(-(10**37) - 1)])],
)
def test_integers_beyond_64_bits_become_texts_with_all_their_digits(
    tmp_path: Path, type_: pa.DataType, keys: list[Any]
) -> None:
    assert ingested(tmp_path, labels=labels(pa.array(keys, type_))) == {"labels": [str(int(key)) for key in keys]}


@pytest.mark.parametrize("keys", [pa.array([1.0, 2.0]), pa.array([1.5, 2.5], pa.float32())])
def test_a_floating_point_key_is_refused_by_name(tmp_path: Path, keys: pa.Array) -> None:
    with pytest.raises(InputError, match="source 'labels': the entity 'id' holds floating-point numbers"):
        ingested(tmp_path, labels=labels(keys))


def test_keys_that_are_texts_in_one_table_are_texts_in_all(tmp_path: Path) -> None:
    found = ingested(
        tmp_path,
        labels="id,at,y\n1,2024-01-01,0\n02,2024-01-01,1\n",
        few="id,x\n1,5\n3,6\n",
        stored=pa.table({"id": [1, 2**60], "x": [0.5, 1.5]}),
    )

    assert found == {"labels": ["1", "02"], "few": ["1", "3"], "stored": ["1", str(2**60)]}


def test_blanks_around_a_key_and_the_composition_of_its_letters_make_no_other_key(tmp_path: Path) -> None:
    found = ingested(
        tmp_path,
        labels="id,at,y\n c1,2024-01-01,0\nu\u0308,2024-01-01,1\n",
        stored=pa.table({"id": ["c1\u00a0", "\u00fc", " "], "x": [1, 2, 3]}),
    )

    assert found == {"labels": ["c1", "\u00fc"], "stored": ["c1", "\u00fc", None]}
