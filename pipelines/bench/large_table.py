"""A project with one large table: 15 numbers and 5 categories of an entity, and a label that some of them explain.

The features are those of the log that ``pipelines.bench.window`` writes, so that monitoring can look at a release.
"""

from pathlib import Path

import duckdb
import yaml

from components.shared.sql import identifier, literal

NUMBERS = tuple(f"f{number}" for number in range(15))
CATEGORIES = tuple(f"c{number}" for number in range(5))
_DAYS = 360
_SEED = 0.7

_FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, String
from feast.value_type import ValueType

who = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(
    name="rows", entities=[who], ttl=timedelta(0),
    schema=[Field(name=f"f{number}", dtype=Float64) for number in range(15)]
    + [Field(name=f"c{number}", dtype=String) for number in range(5)],
    source=FileSource(path="data/rows.parquet", timestamp_field="event_timestamp"),
)
service = FeatureService(name="bench", features=[view])
"""
_STORE = """\
project: bench
provider: local
registry: data/registry.db
offline_store: {type: components.shared.features.asof_store.AsofOfflineStore}
online_store: {type: sqlite, path: data/online.db}
entity_key_serialization_version: 3
"""


def write(folder: Path, rows: int) -> Path:
    """Write a project whose table has so many rows, one per entity, and return its project file.

    Models are fitted for few epochs and rounds: how many there are changes the time that a step takes, not its memory.
    """
    folder.mkdir(parents=True)
    with duckdb.connect(config={"memory_limit": "1GB", "temp_directory": str(folder / "spill"), "threads": 1}) as made:
        made.execute(f"SELECT setseed({_SEED})")
        made.execute(f"COPY ({_query(rows)}) TO {literal(str(folder / 'rows.parquet'))} (ROW_GROUP_SIZE 100000)")
    (folder / "feature_repo" / "sql").mkdir(parents=True)
    (folder / "feature_repo" / "features.py").write_text(_FEATURES, encoding="utf-8")
    (folder / "feature_repo" / "feature_store.yaml").write_text(_STORE, encoding="utf-8")
    columns = ", ".join(map(identifier, (*NUMBERS, *CATEGORIES)))
    query = f"SELECT id, seen_at AS event_timestamp, {columns} FROM rows\n"
    (folder / "feature_repo" / "sql" / "rows.sql").write_text(query, encoding="utf-8")
    project_file = folder / "project.yaml"
    project_file.write_text(yaml.safe_dump(_project(), sort_keys=False), encoding="utf-8")
    return project_file


def _query(rows: int) -> str:
    numbers = ", ".join(f"random() + random() + random() - 1.5 AS {name}" for name in NUMBERS)
    categories = ", ".join(
        f"'v' || floor(random() * random() * {5 * 4**number})::INT AS {name}" for number, name in enumerate(CATEGORIES)
    )
    minutes = f"(range * {_DAYS * 24 * 60}::BIGINT // {rows})::BIGINT"
    table = (
        f"SELECT range AS id, TIMESTAMP '2025-01-01' + to_minutes({minutes}) AS seen_at, {numbers}, {categories}"
        f" FROM range({rows})"
    )
    odds = "3 * f0 - 2 * f1 * f2 + if(c0 = 'v1', 1, -0.5)"
    return f"SELECT *, if(random() < 1 / (1 + exp(-({odds}))), 'yes', 'no') AS answer FROM ({table})"


def _project() -> dict[str, object]:
    numeric = {name: {"type": "numeric"} for name in NUMBERS}
    return {
        "name": "bench",
        "task": "binary",
        "entity": "id",
        "event_time": "seen_at",
        "sources": {"rows": {"path": "rows.parquet", "time": "seen_at"}},
        "label": {"source": "rows", "column": "answer", "positive": "yes"},
        "features": {"service": "bench", "columns": numeric | {name: {"type": "categorical"} for name in CATEGORIES}},
        "tuning": {"trials": 1},
        "training": {"epochs": 1, "batch_size": 4096, "trees": {"rounds": 10}},
        "evaluation": {"resamples": 50},
        "monitoring": {"retention_days": 3650},
    }
