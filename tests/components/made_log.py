"""A small inference log, its labels, and the reference of its model, as server, command and evaluation write them."""

import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.shared import label_store
from components.shared.inference_log import segments
from components.shared.inference_log.segments import LoggedFeature, SegmentHeader
from components.shared.project import Project
from tests.components import made_candidate

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
HEADER = SegmentHeader(
    "made", "1", (LoggedFeature("usage", "numeric"), LoggedFeature("plan", "categorical")), ("usage",)
)


def project(delay_days: int = 0, **monitoring: Any) -> Project:
    """Return the project whose model is logged."""
    label = {"source": "rows", "column": "answer", "positive": "yes", "delay_days": delay_days}
    return made_candidate.project(label=label, monitoring=monitoring)


def request(request_id: str, day: float, *, rows: int = 1, score: float = 0.2, **said: Any) -> dict[str, Any]:
    """Return a logged request that arrived ``day`` days after FIRST.

    ``entity`` is one text per row; ``event_day`` is the day of the event time, where the request said one.
    """
    at_ns = int((FIRST + timedelta(days=day)).timestamp() * 1e9)
    content = {
        "id": request_id,
        "at_ns": at_ns,
        "protocol": "v1",
        "rows": rows,
        "latency_us": 100.0,
        "received": {"usage": said.pop("usage", [1.0] * rows), "plan": said.pop("plan", ["basic"] * rows)},
        "encoded": b64encode(np.full((rows, 1), 1.0, "<f4").tobytes()).decode(),
        "score": [score] * rows,
        "decision": ["yes" if score >= 0.5 else "no"] * rows,
    }
    if (event_day := said.pop("event_day", None)) is not None:
        content["event_time_us"] = int((FIRST + timedelta(days=event_day)).timestamp() * 1e6)
    return content | said


def write(folder: Path, requests: Iterable[dict[str, Any]], header: SegmentHeader = HEADER, sequence: int = 1) -> None:
    """Write a complete segment."""
    with segments.create(folder, int(FIRST.timestamp() * 1e9), sequence) as stream:
        stream.write(header.line())
        for content in requests:
            stream.write(json.dumps(content).encode() + b"\n")


def add_labels(folder: Path, rows: Sequence[dict[str, Any]], added_on: float = 100) -> label_store.AddedLabels:
    """Add labels; ``day`` and ``known_day`` are days after FIRST."""
    made = [
        {
            "request_id": row.get("request_id"),
            "row": row.get("row"),
            "entity": row.get("entity"),
            "event_time": FIRST + timedelta(days=row["day"]) if "day" in row else None,
            "label": row["label"],
            "known_at": FIRST + timedelta(days=row["known_day"]) if "known_day" in row else None,
        }
        for row in rows
    ]
    table = pa.Table.from_pylist(made, schema=label_store.SCHEMA)
    return label_store.add(folder, table, FIRST + timedelta(days=added_on))
