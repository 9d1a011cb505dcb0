"""Seconds and peak memory of the step log_window on a large log, beside the plain join that it cannot do without.

``python -m pipelines.bench.window ROWS LABELS FOLDER`` prints them as JSON. The log has 20 features and 30 days.
"""

import json
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.log_window import logic
from components.log_window.logic import Span
from components.shared import label_store
from components.shared.inference_log import compaction, rows
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from components.shared.project import Project

_DAYS = 30
_FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_NUMBERS = tuple(LoggedFeature(f"f{number}", "numeric") for number in range(15))
_CATEGORIES = tuple(LoggedFeature(f"c{number}", "categorical") for number in range(5))
_HEADER = SegmentHeader("bench", "1", (*_NUMBERS, *_CATEGORIES), tuple(feature.name for feature in _NUMBERS))


def write(folder: Path, count: int, labeled: int) -> None:
    """Write a compacted log and the labels of some of its rows, day by day."""
    rng, ids = np.random.default_rng(7), []
    for day in range(_DAYS):
        table = _day(day, count // _DAYS, rng)
        path = folder / "log" / f"day={_FIRST + timedelta(days=day):%Y-%m-%d}"
        path.mkdir(parents=True)
        pq.write_table(table.replace_schema_metadata({b"perennial.batches": b"{}"}), path / "bench.parquet")
        ids += table["request_id"].slice(0, labeled // _DAYS).to_pylist()
    columns = {"request_id": pa.array(ids), "label": pa.array(rng.choice(["yes", "no"], len(ids)))}
    made = pa.table([columns.get(field.name, pa.nulls(len(ids), field.type)) for field in label_store.SCHEMA],
                    schema=label_store.SCHEMA)  # fmt: skip
    label_store.add(folder / "labels", made, _FIRST + timedelta(days=60))


def _day(day: int, count: int, rng: np.random.Generator) -> pa.Table:
    start = int((_FIRST + timedelta(days=day)).timestamp() * 1e6)
    at = pa.array(start + np.sort(rng.integers(0, 86_400 * 10**6, count)), pa.int64()).cast(pa.timestamp("us", "UTC"))
    columns = {
        "request_id": pa.array([f"{day:02d}-{number:08d}" for number in range(count)]),
        "row": pa.array(np.zeros(count, np.int32)),
        "at": at,
        "event_time": at,
        "protocol": pa.array(["v1"] * count),
        "model": pa.array(["bench"] * count),
        "release": pa.array(["1"] * count),
        "entity": pa.array([f"e{day}-{number}" for number in range(count)]),
        "score": pa.array(rng.uniform(size=count).astype(np.float32)),
        "decision": pa.array(rng.choice(["yes", "no"], count)),
    }
    columns |= {f"received.{feature.name}": pa.array(rng.normal(size=count)) for feature in _NUMBERS}
    columns |= {f"received.{feature.name}": pa.array(rng.choice(list("abcd"), count)) for feature in _CATEGORIES}
    schema = rows.schema(_HEADER)
    return pa.table([columns.get(field.name, pa.nulls(count, field.type)) for field in schema], schema=schema)


def measure(count: int, labeled: int, folder: Path) -> dict[str, float]:
    """Return seconds and peak memory of the step, and the seconds of the plain join."""
    write(folder, count, labeled)
    before = time.perf_counter()
    span = Span(start=_FIRST - timedelta(days=1))
    window = logic.take(_project(), folder / "log", folder / "labels", span, folder / "window")
    step_s = time.perf_counter() - before
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert window.due_labeled == labeled // _DAYS * _DAYS
    return {"step_s": step_s, "peak_mib": peak_mib, "join_s": _plain_join(folder)}


def _plain_join(folder: Path) -> float:
    """Return the seconds that DuckDB needs to find the row of each label, and to do nothing with it."""
    log, labels = (sorted(map(str, path)) for path in (compaction.files(folder / "log"), (folder / "labels").iterdir()))
    before = time.perf_counter()
    with duckdb.connect() as connection:
        query = "SELECT count(*) FROM read_parquet($log) l JOIN read_parquet($labels) k ON l.request_id = k.request_id"
        connection.execute(query, {"log": log, "labels": labels}).fetchone()
    return time.perf_counter() - before


def _project() -> Project:
    features = {feature.name: {"type": feature.type} for feature in _HEADER.features}
    return Project.model_validate(
        {
            "name": "bench",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "y"},
            "features": {"service": "bench", "columns": features},
        }
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
