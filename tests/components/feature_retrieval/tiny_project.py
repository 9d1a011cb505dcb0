"""A small project on disk: tables made in the test, views as SQL, the bundle that a step would get."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.feature_retrieval import logic
from components.shared import bundle
from components.shared.documents.training_set import TrainingSetSummary
from components.shared.project import Project
from tests import documents

STORE = """
project: tiny
provider: local
registry: data/registry.db
offline_store: {type: duckdb}
online_store: {type: sqlite, path: data/online.db}
entity_key_serialization_version: 3
"""

HEAD = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource
from feast.types import Float64, Int64, String
from feast.value_type import ValueType

entity = Entity(name="who", join_keys=[{entity!r}], value_type=ValueType.STRING)
"""

VIEW = """
{name} = FeatureView(
    name={name!r}, entities=[entity], ttl=timedelta(days={ttl_days}),
    source=FileSource(name={name!r}, path="data/{name}.parquet", timestamp_field={time!r},
                      created_timestamp_column={created!r}),
    schema=[Field(name=name, dtype=Float64) for name in {features!r}],
    tags={tags!r},
)
"""


@dataclass(frozen=True)
class View:
    """A feature view of the project: its SQL and how Feast reads the answer."""

    name: str
    sql: str
    features: list[str]
    time: str = "moment"
    created: str = ""
    ttl_days: float | str = 0
    period: str | None = None

    @property
    def tags(self) -> dict[str, str]:
        """Feast's tags of the view."""
        return {} if self.period is None else {"period": self.period}


@dataclass
class Tiny:
    """A project with the label's source ``examples`` (who, moment, label)."""

    root: Path
    tables: dict[str, pa.Table]
    views: list[View]
    entity: str = "who"
    time: str = "moment"
    label: dict[str, Any] = field(default_factory=lambda: {"source": "examples", "column": "label"})
    task: str = "binary"
    features: list[str] | None = None
    store: str = STORE
    without: str | None = None

    def bundle(self) -> Path:
        """Write the repository and return the bundle."""
        repo = self.root / "feature_repo"
        (repo / "sql").mkdir(parents=True, exist_ok=True)
        (repo / "feature_store.yaml").write_text(self.store)
        text = HEAD.format(entity=self.entity)
        for view in self.views:
            text += VIEW.format(**vars(view), tags=view.tags)
            (repo / "sql" / f"{view.name}.sql").write_text(view.sql)
        text += f"service = FeatureService(name='service', features=[{', '.join(view.name for view in self.views)}])\n"
        (repo / "features.py").write_text(text)
        (self.root / "project.yaml").write_text("name: tiny\n")
        if self.without:
            (repo / self.without).unlink()
        delivered = [name for view in self.views for name in view.features]
        columns = {name: {"type": "numeric"} for name in self.features or delivered}
        project = Project.model_validate(
            {
                "name": "tiny",
                "task": self.task,
                "entity": self.entity,
                "event_time": self.time,
                "sources": {name: {"path": f"{name}.parquet"} for name in self.tables},
                "label": self.label,
                "features": {"service": "service", "columns": columns},
            }
        )
        return bundle.write(project, self.root / "project.yaml", self.root / "bundles")

    def snapshot(self) -> Path:
        """Write the tables as ingestion would."""
        folder = self.root / "snapshot"
        folder.mkdir(parents=True, exist_ok=True)
        described = {}
        for name, table in self.tables.items():
            pq.write_table(table, folder / f"{name}.parquet")
            column = next((name for name in (self.time, "used_at") if name in table.column_names), None)
            values = [] if column is None else table[column].to_pylist()
            times = [value for value in values if isinstance(value, datetime)]
            ends = [min(times).isoformat(), max(times).isoformat()] if times else None
            columns = {column: "VARCHAR" for column in table.column_names}
            described[name] = {"rows": len(table), "columns": columns, "content_hash": "c" * 64, "time_range": ends}
        documents.snapshot(tables=described).write(folder)
        return folder

    def retrieve(self, which: str = "labelled") -> pa.Table:
        """Run the step and return the training set, or the newest examples."""
        logic.retrieve(str(self.bundle()), self.snapshot(), self.root / "training_set", which)
        return pq.read_table(self.root / "training_set" / "rows.parquet")

    def summary(self) -> TrainingSetSummary:
        """Read what the step said about its result."""
        return TrainingSetSummary.read(self.root / "training_set")


def day(number: float) -> datetime:
    """Give a moment counted from January 2024: 1 is its first midnight, 1.5 noon of that day."""
    return datetime(2024, 1, 1) + timedelta(days=number - 1)
