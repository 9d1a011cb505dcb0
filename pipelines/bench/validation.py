"""Validation of a table of 20 columns against polars' describe, in one process, imports left out.

``python -m pipelines.bench.validation ROWS FOLDER`` prints seconds and peak MiB as JSON; it runs in data_validation's
virtualenv with the bench tools.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import duckdb
import polars
import yaml

from components.data_validation import logic
from components.shared import bundle
from components.shared.documents.accepted import AcceptedRecord
from components.shared.documents.snapshot import SnapshotDescription, TableDescription
from components.shared.project import Project
from pipelines.bench import repeats


def measure(rows: int, folder: Path) -> dict[str, Any]:
    """Make the table, then time both on it."""
    project_file, snapshot = _make(folder, rows)
    project = Project.model_validate(yaml.safe_load(project_file.read_text(encoding="utf-8")))
    bundled = bundle.write(project, project_file, folder)
    accepted = folder / "accepted"
    accepted.mkdir()
    AcceptedRecord(run_id=None, snapshot_hash=None).write(accepted)

    def validate(turn: int) -> None:
        logic.validate(str(bundled), snapshot, accepted, folder / f"statistics-{turn}", folder / "report.html")

    validate(0)
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measured = repeats.in_turns(
        {
            "validation_s": lambda turn: validate(turn + 1),
            "describe_s": lambda _: polars.read_parquet(snapshot / "rows.parquet").describe(),
        }
    )
    return {**measured, "peak_mib": peak_mib}


def _make(folder: Path, rows: int) -> tuple[Path, Path]:
    numbers = ", ".join(f"random() * {i + 1} AS n{i}" for i in range(10))
    texts = ", ".join(f"'c' || (random() * {10 * (i + 1)})::INT AS c{i}" for i in range(7))
    snapshot = folder / "snapshot"
    snapshot.mkdir(parents=True)
    select = f"SELECT range AS id, {numbers}, {texts}, (random() < 0.3)::INT AS y, TIMESTAMP '2024-01-01' AS at"
    duckdb.sql(f"COPY ({select} FROM range({rows})) TO '{snapshot / 'rows.parquet'}'")
    _describe(snapshot, rows)
    columns = ["id", "at", "y", *(f"n{i}" for i in range(10)), *(f"c{i}" for i in range(7))]
    schema = folder / "feature_repo" / "schema"
    schema.mkdir(parents=True)
    kinds = {"n": "FLOAT", "c": "BYTES", "i": "INT", "y": "INT", "a": "INT"}
    (schema / "rows.pbtxt").write_text(
        "".join(f'feature {{ name: "{c}" type: {kinds[c[0]]} presence {{ min_fraction: 1.0 }} }}\n' for c in columns)
    )
    project_file = folder / "project.yaml"
    project_file.write_text(
        "name: bench\ntask: binary\nentity: id\nevent_time: at\nsources: {rows: {path: rows.parquet, time: at}}\n"
        "label: {source: rows, column: y}\nfeatures: {service: bench, columns: {n0: {type: numeric}}}\n"
        "validation: {schema_anomalies: warn}\n"
    )
    return project_file, snapshot


def _describe(snapshot: Path, rows: int) -> None:
    described = duckdb.execute(f"DESCRIBE FROM '{snapshot / 'rows.parquet'}'").fetchall()
    columns = {name: kind for name, kind, *_ in described}
    span = ("2024-01-01", "2024-01-01")
    table = TableDescription(rows=rows, columns=columns, content_hash="bench", time_range=span)
    SnapshotDescription(content_hash="bench", tables={"rows": table}).write(snapshot)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
