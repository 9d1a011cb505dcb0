"""Point-in-time retrieval through Feast against a hand-written DuckDB ASOF join, on the same rows.

``python -m pipelines.bench.retrieval ENTITIES FOLDER`` prints seconds as JSON; it runs in
feature_retrieval's virtualenv.
"""

import json
import sys
from pathlib import Path

import duckdb
import yaml

from components.feature_retrieval import logic
from components.shared import bundle
from components.shared.documents.snapshot import SnapshotDescription, TableDescription
from components.shared.project import Project
from pipelines.bench import repeats

HISTORY = 5
_FEATURES = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64
from feast.value_type import ValueType

who = Entity(name="id", join_keys=["id"], value_type=ValueType.INT64)
view = FeatureView(
    name="usage", entities=[who], ttl=timedelta(days=3650), schema=[Field(name="x", dtype=Float64)],
    source=FileSource(path="data/usage.parquet", timestamp_field="event_timestamp"),
)
service = FeatureService(name="bench", features=[view])
"""


def measure(entities: int, folder: Path) -> dict[str, list[float]]:
    """Make labels and a history of each entity, then time both joins; the first calls of both are not counted."""
    snapshot = _make(folder, entities)
    project_file = folder / "project.yaml"
    project = Project.model_validate(yaml.safe_load(project_file.read_text(encoding="utf-8")))
    bundled = bundle.write(project, project_file, folder)
    by_hand = f"""COPY (
        SELECT labels.*, usage.x FROM '{snapshot / "labels.parquet"}' labels
        ASOF LEFT JOIN '{snapshot / "usage.parquet"}' usage
        ON labels.id = usage.id AND labels.seen_at >= usage.seen_at
    ) TO '{folder / "joined.parquet"}'"""
    return repeats.in_turns(
        {
            "feast_s": lambda turn: logic.retrieve(str(bundled), snapshot, folder / f"training_set-{turn}"),
            "asof_s": lambda _: duckdb.sql(by_hand),
        }
    )


def _make(folder: Path, entities: int) -> Path:
    snapshot = folder / "snapshot"
    (folder / "feature_repo" / "sql").mkdir(parents=True)
    snapshot.mkdir()
    start = "TIMESTAMP '2024-01-01'"
    queries = {
        "labels": f"SELECT range AS id, {start} + INTERVAL 200 DAY AS seen_at, range % 2 AS y FROM range({entities})",
        "usage": f"SELECT range % {entities} AS id, {start} + to_days((range // {entities} * 50)::INT) AS seen_at, "
        f"random() AS x FROM range({entities * HISTORY})",
    }
    tables = {}
    for name, query in queries.items():
        duckdb.sql(f"COPY ({query}) TO '{snapshot / name}.parquet'")
        columns = {column: kind for column, kind, *_ in duckdb.execute(f"DESCRIBE {query}").fetchall()}
        rows = entities * (HISTORY if name == "usage" else 1)
        span = ("2024-01-01T00:00:00+00:00", "2024-07-19T00:00:00+00:00")
        tables[name] = TableDescription(rows=rows, columns=columns, content_hash="bench", time_range=span)
    SnapshotDescription(content_hash="bench", tables=tables).write(snapshot)
    (folder / "feature_repo" / "features.py").write_text(_FEATURES)
    (folder / "feature_repo" / "feature_store.yaml").write_text(
        "project: bench\nprovider: local\nregistry: data/registry.db\noffline_store: {type: duckdb}\n"
        "online_store: {type: sqlite, path: data/online.db}\nentity_key_serialization_version: 3\n"
    )
    (folder / "feature_repo" / "sql" / "usage.sql").write_text("SELECT id, seen_at AS event_timestamp, x FROM usage\n")
    (folder / "project.yaml").write_text(
        "name: bench\ntask: binary\nentity: id\nevent_time: seen_at\n"
        "sources: {labels: {path: labels.parquet, time: seen_at}, usage: {path: usage.parquet, time: seen_at}}\n"
        "label: {source: labels, column: y}\nfeatures: {service: bench, columns: {x: {type: numeric}}}\n"
    )
    return snapshot


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
