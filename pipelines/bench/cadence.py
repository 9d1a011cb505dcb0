"""What following the recommended cadence costs, beside fixed schedules, drift triggers and hindsight; simulated.

``python -m pipelines.bench.cadence SEEDS FOLDER`` prints costs as JSON. Each stream has two years of weekly rows. The
first half of its weeks recommends a policy, the second half measures it. A wrong answer costs 1, a training
``TRAINING``. Where PERENNIAL_BANK names the bank marketing table, it is measured, too: its rows are in the order of
time from May 2008 to November 2010, and the year follows from the order of the months.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from components.cadence import history, logic, policies
from components.cadence.history import AlarmTest, Examples, History
from components.cadence.policies import Due
from components.shared.inputs.rows import Inputs

TRAINING = 20.0
_WEEKS, _ROWS, _FEATURES = 104, 200, 5
_DELAY_DAYS, _WINDOW_DAYS, _RUN_LENGTH = 14.0, 182.0, 730.0
_MONTH = 4
_DRIFT_P = 0.01
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERS = ("age", "balance", "campaign", "pdays", "previous")
_WORDS = ("job", "marital", "education", "default", "housing", "loan", "contact", "poutcome")

Floats = NDArray[np.float64]
Stream = Callable[[np.random.Generator], tuple[Floats, Floats]]
"""Draws (weeks, features) effects and (weeks, features) means of the inputs."""


def _start(rng: np.random.Generator) -> tuple[Floats, Floats]:
    effects = np.tile(rng.choice([-1.5, 1.5], _FEATURES), (_WEEKS, 1))
    return effects, np.zeros((_WEEKS, _FEATURES))


def _sudden(rng: np.random.Generator) -> tuple[Floats, Floats]:
    effects, means = _start(rng)
    for week in np.cumsum(rng.integers(16, 32, 8)):
        effects[week:, rng.choice(_FEATURES, 2, replace=False)] *= -1
    return effects, means


def _gradual(rng: np.random.Generator) -> tuple[Floats, Floats]:
    effects, means = _start(rng)
    angle = np.linspace(0, 2 * np.pi, _WEEKS)[:, None]
    return effects * np.cos(angle + rng.random(_FEATURES) * np.pi), means


def _recurring(rng: np.random.Generator) -> tuple[Floats, Floats]:
    effects, means = _start(rng)
    other = (np.arange(_WEEKS) // 13 % 2 == 1)[:, None] & (np.arange(_FEATURES) < 2)
    return np.where(other, -effects, effects), means


def _covariate(rng: np.random.Generator) -> tuple[Floats, Floats]:
    effects, means = _start(rng)
    for week in np.cumsum(rng.integers(16, 32, 8)):
        means[week:, rng.integers(_FEATURES)] += rng.choice([-0.7, 0.7])
    return effects, means


STREAMS: Mapping[str, Stream] = {
    "none": _start,
    "sudden": _sudden,
    "gradual": _gradual,
    "recurring": _recurring,
    "harmless covariate shift": _covariate,
}


def costs(examples: Examples, seed: int) -> dict[str, float]:
    """Return what each policy costs in the second half of a history."""
    played = history.play(examples, _DELAY_DAYS, _WINDOW_DAYS, AlarmTest(_RUN_LENGTH))
    half = len(played.rows) // 2
    past, future = _part(played, 0, half), _part(played, half, len(played.rows))
    recommended = logic.compare(past, TRAINING, "wrong answers", seed).recommended
    followed: dict[str, Due] = {
        "weekly": policies.every(1),
        "monthly": policies.every(_MONTH),
        "on drift": _on_drift(examples, played, half),
        "never": policies.never,
    }
    positives = _positives(examples, played, half)
    cost = {
        name: float(policies.follow(future.losses, due).cost(TRAINING).sum() + positives)
        for name, due in followed.items()
    }
    chosen = {policy.name: policy.played for policy in logic.candidates(future)}[recommended]
    cost["recommended"] = float(chosen.cost(TRAINING).sum() + positives)
    cost["hindsight"] = float(policies.hindsight(future.losses, TRAINING).cost(TRAINING).sum() + positives)
    return cost


def simulated(stream: Stream, seed: int) -> Examples:
    """Draw the rows of a stream."""
    rng = np.random.default_rng(seed)
    effects, means = stream(rng)
    inputs = rng.normal(size=(_WEEKS, _ROWS, _FEATURES)) + means[:, None, :]
    logits = (inputs * effects[:, None, :]).sum(axis=2)
    labels = rng.random(logits.shape) < 1 / (1 + np.exp(-logits))
    days = np.sort(rng.random((_WEEKS, _ROWS)), axis=1) * 7 + 7 * np.arange(_WEEKS)[:, None]
    flat = inputs.reshape(-1, _FEATURES)
    return Examples(
        inputs=Inputs(flat.astype(np.float32), np.empty((len(flat), 0), object)),
        labels=labels.ravel().astype(float),
        days=days.ravel() - days.min(),
        first=datetime(2024, 1, 1),
        task="binary",
        value=None,
    )


def bank(path: Path) -> Examples:
    """Read the bank marketing table; ``duration`` is known only after the call."""
    with path.open(encoding="utf-8") as file:
        dialect = csv.Sniffer().sniff(file.readline(), ",;")
        file.seek(0)
        rows = list(csv.DictReader(file, dialect=dialect))
    dates: list[date] = []
    year = 2008
    for row in rows:
        month = _MONTHS.index(row["month"]) + 1
        year += bool(dates) and month < dates[-1].month
        dates.append(date(year, month, int(row["day"])))
    # Days within a month are not in order everywhere.
    order = np.argsort(np.array(dates, "datetime64[D]"), kind="stable")
    numeric = np.array([[float(row[name]) for name in _NUMBERS] for row in rows], np.float32)
    words = np.array([[row[name] for name in _WORDS] for row in rows], object)
    days = np.array(dates, "datetime64[D]").astype(int).astype(float)
    return Examples(
        inputs=Inputs(numeric[order], words[order]),
        labels=np.array([float(row["y"] == "yes") for row in rows])[order],
        days=days[order] - days.min(),
        first=datetime.combine(min(dates), datetime.min.time()),
        task="binary",
        value=None,
    )


def _part(played: History, begin: int, end: int) -> History:
    alarms = played.alarms[begin:end] - begin
    return replace(
        played,
        losses=played.losses[begin:end, begin:end],
        rows=played.rows[begin:end],
        alarms=np.where((alarms >= 0) & (alarms < end - begin), alarms, -1),
    )


def _positives(examples: Examples, played: History, half: int) -> float:
    """Return what acting on nobody gets wrong: losses are counted from there."""
    begin = (played.start - examples.first).total_seconds() / 86_400 + half * played.block_days
    end = begin + (len(played.rows) - half) * played.block_days
    return float(examples.labels[(examples.days >= begin) & (examples.days < end)].sum())


def _on_drift(examples: Examples, played: History, half: int) -> Due:
    """Train when the last block differs from the one before the training in any number (Kolmogorov-Smirnov)."""
    begin = (played.start - examples.first).total_seconds() / 86_400 + (half - 1) * played.block_days
    block_of = np.floor((examples.days - begin) / played.block_days).astype(int)

    def due(trained: int, block: int) -> bool:
        then, now = (examples.inputs.numeric[block_of == each] for each in (trained, block))
        if not len(then) or not len(now):
            return False
        columns = range(then.shape[1])
        p_values = [stats.ks_2samp(then[:, column], now[:, column]).pvalue for column in columns]
        return bool(min(p_values) < _DRIFT_P / len(columns))

    return due


def main(seeds: int) -> dict[str, dict[str, list[float]]]:
    """Measure every stream with every seed."""
    measured: dict[str, dict[str, list[float]]] = {}
    for name, stream in STREAMS.items():
        each = [costs(simulated(stream, seed), seed) for seed in range(seeds)]
        measured[name] = {policy: [cost[policy] for cost in each] for policy in each[0]}
    if table := os.environ.get("PERENNIAL_BANK"):
        measured["bank marketing"] = {name: [cost] for name, cost in costs(bank(Path(table)), 0).items()}
    return measured


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
