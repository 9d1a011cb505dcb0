"""Small splits of three tasks, made from a rule that a model can learn, with gaps and rare categories."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.project import Project
from tests import documents

PLANS = np.array(["basic", "plus", "Prämie", "東京"], object)


def project(task: str = "binary", **sections: Any) -> Project:
    """Return the project that the made splits belong to."""
    return Project.model_validate(
        {
            "name": "made",
            "task": task,
            "entity": "customer",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "answer"},
            "features": {
                "service": "made",
                "columns": {
                    "usage": {"type": "numeric"},
                    "age": {"type": "numeric", "missing": False},
                    "spent": {"type": "numeric"},
                    "plan": {"type": "categorical"},
                    "region": {"type": "categorical", "missing": False},
                    "paperless": {"type": "boolean"},
                },
            },
            "value": {"benefit": 8, "success_rate": 0.5, "false_positive_cost": 2} if task == "binary" else None,
        }
        | sections
    )


def table(task: str = "binary", rows: int = 1000, seed: int = 0) -> pa.Table:
    """Return labelled rows: usage, plan and paperless decide, age and region do not; spent is heavy-tailed."""
    random = np.random.default_rng(seed)
    usage, age, spent = random.normal(size=rows), random.integers(18, 90, rows), random.lognormal(3, 2, rows)
    plan, region = random.choice(PLANS, rows, p=[0.5, 0.3, 0.15, 0.05]), random.choice(["n", "s"], rows)
    paperless = random.random(rows) < 0.6
    signal = np.where(np.abs(usage) > 1, 1.5, -1.0) + (plan == "plus") - 1.2 * paperless + 0.2 * np.log(spent)
    noisy = signal + random.logistic(size=rows) * 0.7
    answer = {
        "binary": np.where(noisy > 0.5, "yes", "no"),
        "multiclass": np.digitize(noisy, [-0.5, 1.0]),
        "regression": 1000.0 + 50 * noisy,
    }[task]
    start = datetime(2025, 1, 1, tzinfo=UTC)
    return pa.table(
        {
            "customer": pa.array([f"c{number}" for number in range(rows)]),
            "at": pa.array([start + timedelta(hours=int(hour)) for hour in range(rows)], pa.timestamp("us", tz="UTC")),
            "answer": pa.array(answer.tolist()),
            "usage": pa.array(np.where(random.random(rows) < 0.1, np.nan, usage), from_pandas=True),
            "age": pa.array(age),
            "spent": pa.array(spent),
            "plan": pa.array(np.where(random.random(rows) < 0.05, np.array(None, dtype=object), plan).tolist()),
            "region": pa.array(region.tolist()),
            "paperless": pa.array(paperless),
        }
    )


def write(folder: Path, rows: pa.Table) -> Path:
    """Cut rows by order into train (60 %), validation (20 %) and test, as the split step leaves them."""
    folder.mkdir(parents=True, exist_ok=True)
    cuts = [0, int(rows.num_rows * 0.6), int(rows.num_rows * 0.8), rows.num_rows]
    parts = {
        name: rows.slice(a, b - a) for name, a, b in zip(("train", "validation", "test"), cuts, cuts[1:], strict=False)
    }
    for name, part in parts.items():
        pq.write_table(part, folder / f"{name}.parquet")
    spans = {name: [str(part.column("at")[i].as_py().isoformat()) for i in (0, -1)] for name, part in parts.items()}
    counts = {name: part.num_rows for name, part in parts.items()} | {"left_out": 0}
    documents.split(rows=counts, ranges=spans, content_hash=files.sha256(folder)).write(folder)
    return folder


def write_best(folder: Path, **hyperparameters: Any) -> Path:
    """Write a study that chose these hyperparameters."""
    BestHyperparameters(hyperparameters=hyperparameters).write(folder)
    return folder
