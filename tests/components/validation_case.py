"""A small table, its schema, and a project whose snapshots are validated."""

import importlib.util
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.data_validation import logic
from components.data_validation.contract import ValidationBackend
from components.data_validation.exact import Table
from components.shared import bundle
from components.shared.documents.findings import Finding
from components.shared.project import Project, ValidationLibrary
from tests import documents

_PACKAGES: dict[ValidationLibrary, str] = {"tfdv": "tensorflow_data_validation", "duckdb": "duckdb"}
BACKENDS = [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package)]
"""The backends that this environment has."""
TYPES = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.bool_(): "BOOLEAN"}
SCHEMA = """
default_environment: "TRAINING"
default_environment: "SERVING"
feature { name: "id" type: BYTES presence { min_fraction: 1.0 min_count: 1 } }
feature { name: "at" type: INT time_domain { integer_format: UNIX_MICROSECONDS } presence { min_fraction: 1.0 } }
feature {
  name: "plan" type: BYTES string_domain { name: "plan" value: "basic" value: "plus" } presence { min_fraction: 1.0 }
}
feature { name: "use" type: FLOAT float_domain { min: 0 max: 1000 } presence { min_fraction: 0.5 } }
feature { name: "paid" type: INT bool_domain {} presence { min_fraction: 1.0 } }
feature { name: "y" type: INT bool_domain {} not_in_environment: "SERVING" presence { min_fraction: 1.0 } }
"""


def table(rows: int = 2000, seed: int = 1) -> pa.Table:
    """Make rows that the schema allows."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "id": [f"c{n}" for n in range(rows)],
            "at": pa.array([datetime(2024, 1, 1) + timedelta(hours=n) for n in range(rows)], pa.timestamp("us")),
            "plan": random.choice(["basic", "plus"], rows),
            "use": random.gamma(2.0, 20.0, rows),
            "paid": random.random(rows) < 0.5,
            "y": random.integers(0, 2, rows),
        }
    )


def swap(of: pa.Table, name: str, values: Any) -> pa.Table:
    return of.set_column(
        of.column_names.index(name),
        name,
        values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values),
    )


def described_types(rows: pa.Table) -> dict[str, str]:
    """Return the types of a table's columns as a snapshot describes them."""
    return {field.name: TYPES.get(field.type, "TIMESTAMP") for field in rows.schema}


def describe(backend: ValidationBackend, rows: pa.Table, folder: Path, expected: Mapping[str, str]) -> Any:
    """Return the statistics of a table, which is written into a folder."""
    path = folder / "table.parquet"
    pq.write_table(rows, path)
    opened = Table(path, described_types(rows))
    return backend.statistics(opened, opened.measure([]), expected)


class Case:
    """One project in a folder, whose snapshots are validated."""

    def __init__(
        self,
        folder: Path,
        text: str | None = SCHEMA,
        source: dict[str, Any] | None = None,
        delay_days: int = 0,
        sources: dict[str, Any] | None = None,
        backend: ValidationLibrary = BACKENDS[0],
        **rules: Any,
    ) -> None:
        self.folder = folder
        repo = folder / "feature_repo" / "schema"
        repo.mkdir(parents=True)
        if text is not None:
            (repo / "table.pbtxt").write_text(text)
        (folder / "project.yaml").write_text("# written by the test\n")
        project = Project.model_validate(
            {
                "name": "trial",
                "task": "binary",
                "entity": "id",
                "event_time": "at",
                "sources": sources or {"table": {"path": "table.csv", "time": "at"} | (source or {})},
                "label": {"source": "table", "column": "y", "delay_days": delay_days},
                "features": {"service": "trial_v1", "columns": {"use": {"type": "numeric"}}},
                "validation": {"backend": backend, **rules},
            }
        )
        self.bundle = str(bundle.write(project, folder / "project.yaml", folder))
        (folder / "accepted").mkdir()
        self.left_out: dict[str, Any] = {}
        """What ingestion says that it left out of ``table``."""

    def validate(self, rows: pa.Table, **others: pa.Table) -> list[Finding]:
        """Validate a snapshot of ``table``, and of other sources by name."""
        snapshot = self.folder / "snapshot"
        snapshot.mkdir(exist_ok=True)
        tables = {name: _write(content, snapshot, name) for name, content in {"table": rows, **others}.items()}
        tables["table"] |= self.left_out
        documents.snapshot(tables=tables).write(snapshot)
        return logic.validate(
            self.bundle, snapshot, self.folder / "accepted", self.folder / "statistics", self.folder / "report.html"
        )

    def accept(self) -> None:
        (self.folder / "statistics").rename(self.folder / "accepted" / "statistics")


def _write(rows: pa.Table, snapshot: Path, name: str) -> dict[str, Any]:
    """Write one table of a snapshot, and describe it."""
    pq.write_table(rows, snapshot / f"{name}.parquet", row_group_size=100_000)
    times = sorted(rows["at"].drop_null().to_pylist()) if "at" in rows.column_names else []
    span = (times[0].isoformat(), times[-1].isoformat()) if times else None
    return {"rows": len(rows), "columns": described_types(rows), "content_hash": "c" * 64, "time_range": span}


def kinds(findings: list[Finding]) -> list[tuple[str | None, str, str]]:
    return [(each.column, each.kind, each.reaction) for each in findings]
