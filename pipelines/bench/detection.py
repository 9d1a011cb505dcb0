"""What monitoring finds in simulated streams, after how many days, and how often in vain; without a server.

``python -m pipelines.bench.detection SEEDS FOLDER`` prints the counts by kind of stream as JSON. A stream has 90 days
of test rows and 182 days of logged rows with labels that are known at once; what changes, changes on day 91. Days
differ by more than chance, and inputs have a weekly cycle.
"""

import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.decision import logic as decision
from components.drift.logic import OpenDetector
from components.performance import logic as performance
from components.shared.documents.champion import ChampionRecord
from components.shared.documents.data_quality import DataQuality
from components.shared.documents.evaluation import EvaluationReport
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.monitoring import Cause, LabelJoin, LogWindow, MonitoringDecision, PerformanceReport
from components.shared.incidents.store import is_incident
from components.shared.project import Project
from components.shared.window_drift import report
from pipelines.bench.detected import Detected

REFERENCE_DAYS, DAYS, CHANGE, PER_DAY = 90, 182, 91, 200
_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_WEIGHTS = (1.6, 1.0, 0.8)
_DAY_SD = 0.15
"""Standard deviation of a day's offset of the log odds."""
_WEEK = 7
_MONTH = 30
_THRESHOLD, _EXPLORED = 0.5, 0.05
_SEEDS_MAX = 1000
FEATURES = ("x1", "x2", "x3", "noise")
_GROUPS, _GROUP_SHARES = ("a", "b", "c"), (0.6, 0.25, 0.15)
_COMPENSATED = 1.3
"""Times the meaning of the features where the damage of another group leaves the mean loss as it was."""
_LOSS = frozenset({"loss"})


@dataclass(frozen=True)
class Day:
    """How one day of a stream is made; the fields are those of a day on which nothing changed.

    Attributes:
        weights: Of the features, in the log odds of a positive label.
        damaged: Whether the features mean nothing in group ``c``, and more in the others: the mean loss stays.
        offset: Added to the log odds.
        shift: Added to each feature.
        spread: Standard deviation of ``x1``.
        correlation: Of ``noise`` with ``x2``.
        unit: What the model gets of ``x1``, as a multiple.
        missing: Share of ``x1`` that the model does not get.
        treated: Share of the rows answered "yes" whose label the action turns to "no"; then the server explores.
        rows: Number of rows.
    """

    weights: tuple[float, ...] = _WEIGHTS
    damaged: bool = False
    offset: float = 0.0
    shift: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    spread: float = 1.0
    correlation: float = 0.0
    unit: float = 1.0
    missing: float = 0.0
    treated: float = 0.0
    rows: int = PER_DAY


def _changed(share: float) -> Day:
    """Return a day on which two features mean something else than before, by a share of the whole change."""
    return Day(weights=(1.6, 1.0 - 0.9 * share, 0.8 - 0.9 * share))


def _season(day: int) -> Day:
    """Return a day of a year in which one feature rises and falls; the test rows have seen a quarter of it."""
    return Day(shift=(0.5 * float(np.sin(2 * np.pi * (day - CHANGE) / 365)), 0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Kind:
    """A kind of stream.

    Attributes:
        after: Makes a day after the change.
        expected: The signals of which one has to show the change; none for a harmless kind without a finding.
        cause: The cause that an incident has to name; None for a harmless kind, which may open none.
        persistence: Correlation of a day's effect with that of the day before.
        changed_after: Decisions that the project declares to change their label.
    """

    after: Callable[[int], Day]
    expected: frozenset[str]
    cause: Cause | None = None
    persistence: float = 0.0
    changed_after: tuple[str, ...] = ()


KINDS: Mapping[str, Kind] = {
    "nothing": Kind(lambda day: Day(), frozenset()),
    "growth": Kind(lambda day: Day(rows=PER_DAY + 2 * (day - CHANGE)), frozenset()),
    "days like the day before": Kind(lambda day: Day(), frozenset(), persistence=0.7),
    "yearly season": Kind(_season, frozenset()),
    "harmless covariate shift": Kind(lambda day: Day(shift=(0, 0, 0, 1.0)), frozenset({"input drift"})),
    "correlation only": Kind(lambda day: Day(correlation=0.9), frozenset({"input drift"})),
    "treatment": Kind(lambda day: Day(treated=0.6), frozenset(), changed_after=("yes",)),
    "sudden concept drift": Kind(lambda day: _changed(1.0), _LOSS, "concept drift"),
    "gradual concept drift": Kind(lambda day: _changed(min(1.0, (day - CHANGE) / 60)), _LOSS, "concept drift"),
    "segment damage": Kind(lambda day: Day(damaged=True), _LOSS | {"segment loss"}, "concept drift"),
    "harmful covariate shift": Kind(lambda day: Day(spread=0.2), _LOSS | {"input drift"}, "drift"),
    "label shift": Kind(lambda day: Day(offset=1.2), _LOSS | {"label shift"}, "label shift"),
    # A symmetric column with the wrong sign looks as before; only its meaning has changed.
    "wrong sign": Kind(lambda day: Day(unit=-1.0), _LOSS, "concept drift"),
    "another unit": Kind(lambda day: Day(unit=10.0), _LOSS | {"input drift"}, "upstream"),
    "values missing": Kind(lambda day: Day(missing=0.4), _LOSS | {"input drift"}, "upstream"),
}


def stream(kind: Kind, seed: int) -> tuple[pa.Table, pa.Table]:
    """Return the reference and the logged rows of a stream, as evaluation and log_window write them."""
    rng = np.random.default_rng(seed)
    tables, effect = [], 0.0
    for day in (*range(-REFERENCE_DAYS, 0), *range(DAYS)):
        fresh = rng.normal(0, _DAY_SD)
        effect = kind.persistence * effect + (1 - kind.persistence**2) ** 0.5 * fresh
        tables.append(_rows(kind.after(day) if day >= CHANGE else Day(), day, effect, rng))
    return pa.concat_tables(tables[:REFERENCE_DAYS]), pa.concat_tables(tables[REFERENCE_DAYS:])


def _rows(made: Day, day: int, effect: float, rng: np.random.Generator) -> pa.Table:
    n = made.rows
    features = rng.normal(size=(n, 4))
    features[:, 0] *= made.spread
    features[:, 3] = made.correlation * features[:, 1] + (1 - made.correlation**2) ** 0.5 * features[:, 3]
    features += np.array(made.shift) + 0.1 * np.sin(2 * np.pi * day / _WEEK)
    group = rng.choice(_GROUPS, n, p=_GROUP_SHARES)
    meaning = np.where(group == "c", 0.0, _COMPENSATED) if made.damaged else 1.0
    log_odds = meaning * (features[:, :3] @ np.array(made.weights)) + made.offset + effect
    label = rng.uniform(size=n) < 1 / (1 + np.exp(-log_odds))
    seen = features.copy()
    seen[:, 0] *= made.unit
    lost = rng.uniform(size=n) < made.missing
    # What a model does with a missing value: it takes the mean.
    scored = np.where(lost[:, None] & (np.arange(4) == 0), 0.0, seen)
    score = 1 / (1 + np.exp(-(scored[:, :3] @ np.array(_WEIGHTS))))
    decision = score >= _THRESHOLD
    is_reversed = decision & (rng.uniform(size=n) < _EXPLORED) & (made.treated > 0)
    acted = decision & ~is_reversed
    label &= ~(acted & (rng.uniform(size=n) < made.treated))
    propensity = np.where(is_reversed, _EXPLORED, np.where(decision, 1 - _EXPLORED, 1.0))
    times = [_FIRST + timedelta(days=day, seconds=86_400 * row / n) for row in range(n)]
    columns = {f"received.{name}": pa.array(seen[:, column]) for column, name in enumerate(FEATURES)}
    columns["received.x1"] = pa.array(seen[:, 0], mask=lost)
    return pa.table(
        {
            "request_id": [f"{day}-{row}" for row in range(n)],
            "row": pa.array(np.zeros(n, np.int32)),
            "release": ["1"] * n,
            "event_time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "score": pa.array(score),
            "decision": pa.array(np.where(decision, "yes", "no")),
            "action": pa.array(np.where(acted, "yes", "no")),
            "propensity": pa.array(propensity),
            "label": pa.array(np.where(label, "yes", "no")),
            "received.group": pa.array(group),
        }
        | columns
    )


@dataclass(frozen=True)
class Watched:
    """What monitoring said of a stream.

    Attributes:
        alarms: Days that raised an alarm of all rows.
        decisions: Last day of each weekly window to the decision.
    """

    alarms: list[int]
    decisions: dict[int, MonitoringDecision]

    @property
    def signals(self) -> dict[int, set[str]]:
        """Return the names of what was found, by window."""
        return {end: {s.name for s in said.signals if s.is_found} for end, said in self.decisions.items()}


def watch(kind: Kind, seed: int, folder: Path) -> Watched:
    """Monitor a stream week by week, as the pipeline does."""
    project, (reference, logged) = _project(kind), stream(kind, seed)
    measured, window = folder / "measured" / "evaluation", folder / "window"
    for path in (measured, window, folder / "model" / "package"):
        path.mkdir(parents=True, exist_ok=True)
    pq.write_table(reference, measured / "reference.parquet")
    _evaluation().write(measured)
    ChampionRecord(version="1", run_id="r", fingerprint=None).write(folder / "model")
    _facts().write(folder / "model" / "package")
    whole = _measured(project, logged, 0, DAYS, folder)
    decisions: dict[int, MonitoringDecision] = {}
    times = logged["event_time"].cast(pa.int64()).to_numpy()
    for end in range(_WEEK, DAYS + 1, _WEEK):
        limits = [(_FIRST + timedelta(days=day)).timestamp() * 1e6 for day in (end - _WEEK, end)]
        rows = logged.filter(pa.array((times >= limits[0]) & (times < limits[1])))
        week = _measured(project, rows, end - _WEEK, end, folder)
        _known_by(whole, end, week).write(folder / "performance")
        report.compare(project, window, measured.parent, OpenDetector()).write(folder / "drift")
        _not_validated(len(rows)).write(folder / "quality")
        said = (folder / name for name in ("drift", "performance", "quality"))
        decisions[end] = decision.decide(project, window, *said)
    return Watched([_day(period.day) for period in whole.periods if period.alarm], decisions)


def _not_validated(rows: int) -> DataQuality:
    """Leave data quality out: it needs no statistics, so these streams say nothing about it."""
    return DataQuality(rows=rows, columns=0, reason="the bench does not validate")


def _measured(project: Project, rows: pa.Table, start: int, end: int, folder: Path) -> PerformanceReport:
    """Write a window whose rows all have a label, and measure it."""
    for name in ("rows", "history"):
        pq.write_table(rows, folder / "window" / f"{name}.parquet")
    _window(start, end, len(rows)).write(folder / "window")
    return performance.measure(project, folder / "window", folder / "model", folder / "measured")


def _known_by(whole: PerformanceReport, end: int, week: PerformanceReport) -> PerformanceReport:
    """Return what was known of a stream by a day: the tests up to then, and the estimate of the last week."""
    parts = [
        part.model_copy(update={"alarm": part.alarm if part.alarm and _day(part.alarm) < end else None})
        for part in whole.segments
    ]
    periods = tuple(period for period in whole.periods if _day(period.day) < end)
    return whole.model_copy(update={"periods": periods, "segments": tuple(parts), "estimate": week.estimate})


def measure(seeds: int, folder: Path) -> dict[str, Detected]:
    """Count by kind in how many streams the change was found, after how many days, and what came in vain.

    Args:
        seeds: Streams of each kind, at most 1,000; no two kinds share one, or their false alarms would be the same.
        folder: For the documents of the steps.
    """
    return {
        name: _detected(kind, [watch(kind, _SEEDS_MAX * number + seed, folder) for seed in range(seeds)])
        for number, (name, kind) in enumerate(KINDS.items())
    }


def _detected(kind: Kind, streams: Sequence[Watched]) -> Detected:
    harmless_until = CHANGE if kind.cause else DAYS
    unchanged_until = CHANGE if kind.expected else DAYS
    firsts = [first for watched in streams if (first := _first(kind, watched)) is not None]
    before = [found for watched in streams for end, found in watched.signals.items() if end <= unchanged_until]
    return Detected(
        expected=tuple(sorted(kind.expected)),
        found=len(firsts),
        delay_days=statistics.median(firsts) - CHANGE if firsts else None,
        cause=kind.cause,
        right_cause=sum(_first_cause(watched) == kind.cause for watched in streams) if kind.cause else 0,
        incidents_in_vain=sum(_opened(watched, harmless_until) for watched in streams),
        harmless_months=len(streams) * harmless_until / _MONTH,
        windows=len(before),
        quiet=sum(not found for found in before),
    )


def _opened(watched: Watched, until: int) -> int:
    """Count the incidents that were opened up to a day; a cause that stays is one."""
    causes = [said.cause if is_incident(said) else None for end, said in watched.decisions.items() if end <= until]
    return sum(cause is not None and cause != before for before, cause in pairwise([None, *causes]))


def _first_cause(watched: Watched) -> Cause | None:
    """Return the cause of the first incident after the change."""
    return next((said.cause for end, said in watched.decisions.items() if end > CHANGE and is_incident(said)), None)


def _first(kind: Kind, watched: Watched) -> int | None:
    """Return the first day after the change on which an expected signal came."""
    days = [day for day in watched.alarms if day >= CHANGE] if "loss" in kind.expected else []
    days += [end for end, found in watched.signals.items() if end > CHANGE and found & (kind.expected - _LOSS)]
    return min(days, default=None)


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


def _project(kind: Kind) -> Project:
    return Project.model_validate(
        {
            "name": "bench",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": {"rows": {"path": "rows.parquet"}},
            "label": {"source": "rows", "column": "y", "positive": "yes", "changed_after": kind.changed_after},
            "features": {
                "service": "bench",
                "columns": {name: {"type": "numeric"} for name in FEATURES} | {"group": {"type": "categorical"}},
            },
            "evaluation": {"resamples": 50, "slices": ["group"]},
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
