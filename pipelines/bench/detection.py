"""What monitoring finds in simulated streams, after how many days, and how often in vain; without a server.

``python -m pipelines.bench.detection SEEDS FOLDER`` prints the counts by kind of stream as JSON. A stream has 90 days
of test rows and 182 days of logged rows with labels that are known at once; what changes, changes on day 91. Days
differ by more than chance, and inputs have a weekly cycle.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.drift.logic import OpenDetector
from components.performance import logic as performance
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import DriftReport, LabelJoin, LogWindow
from components.shared.project import Project
from components.shared.window_drift import report
from pipelines.bench.detected import Detected

REFERENCE_DAYS, DAYS, CHANGE, PER_DAY = 90, 182, 91, 200
_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_WEIGHTS = (1.6, 1.0, 0.8)
_DAY_SD = 0.15
"""Standard deviation of a day's offset of the log odds."""
_WEEK = 7
FEATURES = ("x1", "x2", "x3", "noise")


@dataclass(frozen=True)
class Day:
    """How one day of a stream is made; the fields are those of a day on which nothing changed.

    Attributes:
        weights: Of the features, in the log odds of a positive label.
        offset: Added to the log odds.
        shift: Added to each feature.
        spread: Standard deviation of ``x1``.
        correlation: Of ``noise`` with ``x2``.
        unit: What the model gets of ``x1``, as a multiple.
        rows: Number of rows.
    """

    weights: tuple[float, ...] = _WEIGHTS
    offset: float = 0.0
    shift: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    spread: float = 1.0
    correlation: float = 0.0
    unit: float = 1.0
    rows: int = PER_DAY


def _changed(share: float) -> Day:
    """Return a day on which two features mean something else than before, by a share of the whole change."""
    return Day(weights=(1.6, 1.0 - 0.9 * share, 0.8 - 0.9 * share))


@dataclass(frozen=True)
class Kind:
    """A kind of stream: its days after the change, and the signals that have to show it; none for a harmless one."""

    after: Callable[[int], Day]
    expected: frozenset[str]


KINDS: Mapping[str, Kind] = {
    "nothing": Kind(lambda day: Day(), frozenset()),
    "growth": Kind(lambda day: Day(rows=PER_DAY + 2 * (day - CHANGE)), frozenset()),
    "sudden concept drift": Kind(lambda day: _changed(1.0), frozenset({"loss"})),
    "gradual concept drift": Kind(lambda day: _changed(min(1.0, (day - CHANGE) / 60)), frozenset({"loss"})),
    "harmful covariate shift": Kind(lambda day: Day(spread=0.2), frozenset({"loss", "input drift"})),
    "harmless covariate shift": Kind(lambda day: Day(shift=(0, 0, 0, 1.0)), frozenset({"input drift"})),
    "correlation only": Kind(lambda day: Day(correlation=0.9), frozenset({"input drift"})),
    "label shift": Kind(lambda day: Day(offset=1.2), frozenset({"label shift", "loss"})),
    "upstream break": Kind(lambda day: Day(unit=-1.0), frozenset({"loss"})),
}


def stream(kind: Kind, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the reference and the logged rows of a stream, as evaluation and log_window write them."""
    rng = np.random.default_rng(seed)
    days = [*range(-REFERENCE_DAYS, 0), *range(DAYS)]
    tables = [_rows(kind.after(day) if day >= CHANGE else Day(), day, rng) for day in days]
    return pa.concat_tables(tables[:REFERENCE_DAYS]), pa.concat_tables(tables[REFERENCE_DAYS:])


def _rows(made: Day, day: int, rng: np.random.Generator) -> pa.Table:
    n = made.rows
    features = rng.normal(size=(n, 4))
    features[:, 0] *= made.spread
    features[:, 3] = made.correlation * features[:, 1] + (1 - made.correlation**2) ** 0.5 * features[:, 3]
    features += np.array(made.shift) + 0.1 * np.sin(2 * np.pi * day / _WEEK)
    log_odds = features[:, :3] @ np.array(made.weights) + made.offset + rng.normal(0, _DAY_SD)
    label = rng.uniform(size=n) < 1 / (1 + np.exp(-log_odds))
    seen = features.copy()
    seen[:, 0] *= made.unit
    score = 1 / (1 + np.exp(-(seen[:, :3] @ np.array(_WEIGHTS))))
    times = [_FIRST + timedelta(days=day, seconds=86_400 * row / n) for row in range(n)]
    return pa.table(
        {
            "request_id": [f"{day}-{row}" for row in range(n)],
            "row": pa.array(np.zeros(n, np.int32)),
            "release": ["1"] * n,
            "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "score": pa.array(score),
            "decision": pa.array(np.where(score >= 0.5, "yes", "no")),
            "label": pa.array(np.where(label, "yes", "no")),
        }
        | {f"received.{name}": pa.array(seen[:, column]) for column, name in enumerate(FEATURES)}
    )


def watch(kind: Kind, seed: int, folder: Path) -> tuple[list[int], dict[int, set[str]]]:
    """Monitor a stream: return the days that raised an alarm, and the signals of each weekly window by its last day."""
    project, (reference, logged) = _project(), stream(kind, seed)
    measured = folder / "measured" / "evaluation"
    for path in (measured, folder / "window", folder / "model" / "package"):
        path.mkdir(parents=True, exist_ok=True)
    pq.write_table(reference, measured / "reference.parquet")
    _evaluation().write(measured)
    ChampionRecord(version="1", run_id="r", fingerprint=None).write(folder / "model")
    _facts().write(folder / "model" / "package")
    for name in ("rows", "history"):
        pq.write_table(logged, folder / "window" / f"{name}.parquet")
    _window(0, DAYS, len(logged)).write(folder / "window")
    measured_loss = performance.measure(project, folder / "window", folder / "model", measured.parent)
    alarms = [_day(period.day) for period in measured_loss.periods if period.alarm]
    signals: dict[int, set[str]] = {}
    times = logged["event_time"].cast(pa.int64()).to_numpy()
    for end in range(_WEEK, DAYS + 1, _WEEK):
        limits = [(_FIRST + timedelta(days=day)).timestamp() * 1e6 for day in (end - _WEEK, end)]
        rows = logged.filter(pa.array((times >= limits[0]) & (times < limits[1])))
        for name in ("rows", "history"):
            pq.write_table(rows, folder / "window" / f"{name}.parquet")
        _window(end - _WEEK, end, len(rows)).write(folder / "window")
        signals[end] = _named(report.compare(project, folder / "window", measured.parent, OpenDetector()))
    return alarms, signals


def measure(seeds: int, folder: Path) -> dict[str, Detected]:
    """Count by kind in how many streams the expected signals came, after how many days, and what came in vain."""
    measured = {}
    for name, kind in KINDS.items():
        delays, found, in_vain, windows, quiet = [], 0, 0, 0, 0
        for seed in range(1, seeds + 1):
            alarms, signals = watch(kind, seed, folder)
            harmless_until = DAYS if "loss" not in kind.expected else CHANGE
            in_vain += sum(day < harmless_until for day in alarms)
            before = [found_then for end, found_then in signals.items() if end <= CHANGE or not kind.expected]
            windows, quiet = windows + len(before), quiet + sum(not found_then for found_then in before)
            first = _first(kind, alarms, signals)
            found += first is not None
            delays += [] if first is None else [first - CHANGE]
        measured[name] = Detected(
            expected=tuple(sorted(kind.expected)),
            found=found,
            delay_days=statistics.median(delays) if delays else None,
            alarms_in_vain=in_vain,
            windows=windows,
            quiet=quiet,
        )
    return measured


def _first(kind: Kind, alarms: list[int], signals: Mapping[int, set[str]]) -> int | None:
    """Return the first day after the change on which an expected signal came."""
    days = [day for day in alarms if day >= CHANGE] if "loss" in kind.expected else []
    if not days:
        days = [end for end, found in signals.items() if end > CHANGE and found & kind.expected]
    return min(days, default=None)


def _named(compared: DriftReport) -> set[str]:
    inputs = any(column.is_drift for column in compared.columns) or (compared.joint and compared.joint.is_drift)
    others = {"prediction drift": compared.prediction, "label shift": compared.label}
    return ({"input drift"} if inputs else set()) | {name for name, c in others.items() if c and c.is_drift}


def _day(text: str) -> int:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - _FIRST).days


def _window(start: int, end: int, rows: int) -> LogWindow:
    first, last = ((_FIRST + timedelta(days=day)).isoformat() for day in (start, end))
    joined = LabelJoin(known=rows, joined=rows, revised=0, early=0)
    return LogWindow(
        model="bench", task="binary", start=first, end=last, rows=rows, requests=rows, releases={"1": rows},
        release="1", delay_days=0, due_until=last, due=rows, due_labeled=rows, young_labeled=0, from_the_future=0,
        labels=joined, damaged=(),
    )  # fmt: skip


def _project() -> Project:
    return Project.model_validate(
        {
            "name": "bench",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "y", "positive": "yes"},
            "features": {"service": "bench", "columns": {name: {"type": "numeric"} for name in FEATURES}},
            "evaluation": {"resamples": 50},
        }
    )


def _facts() -> ModelFacts:
    features = tuple({"name": name, "type": "numeric", "missing": True} for name in FEATURES)
    return ModelFacts.model_validate(
        {
            "name": "bench", "task": "binary", "label": "y", "entity": "id", "event_time": "at",
            "classes": ("no", "yes"), "positive": "yes", "threshold": 0.5, "features": features, "numeric": FEATURES,
            "categorical": (), "vocabulary": {}, "ranges": {}, "hyperparameters": {}, "seed": 7,
            "weights_hash": "0" * 64, "rows": {"train": 1, "validation": 1},
            "limits": {"request_rows": 1, "request_mib": 1}, "tolerance": 1e-5,
        }
    )  # fmt: skip


def _evaluation() -> EvaluationReport:
    """Return an evaluation of which monitoring reads that no column was shuffled."""
    nothing = {"metric": "auc", "difference": 0.0, "low": 0.0, "high": 0.0}
    return EvaluationReport.model_validate(
        {
            "task": "binary", "resampled": "row", "resamples": 50, "confidence": 0.95, "primary": "auc",
            "rows": {"test": 1, "excluded_seen": 0, "excluded_by_split": 0, "excluded_by_champion": 0},
            "higher_is_better": True, "metrics": {}, "directions": {}, "threshold": 0.5, "calibration": None,
            "baselines": {"rule": {}, "plain": {}, "champion": None}, "confusion": None, "roc": None, "slices": (),
            "comparisons": {"rule": nothing, "plain": nothing, "champion": None}, "worst": None, "fairness": (),
            "descriptions": {"rule": "", "plain": ""}, "robustness": (), "value": None,
            "champion": {"version": None, "compared": False, "reason": None},
            "cost": {"latency_ms_p50": 1, "latency_ms_p99": 1, "size_mib": 1, "memory_mib": 1},
        }
    )  # fmt: skip


if __name__ == "__main__":
    counts = measure(int(sys.argv[1]), Path(sys.argv[2]))
    print(json.dumps({name: asdict(detected) for name, detected in counts.items()}))
