"""Recommend when to retrain, by backtesting schedules and alarms on the project's history."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from components.cadence import history, policies
from components.cadence.history import AlarmTest, Examples, History
from components.cadence.policies import Played
from components.shared.documents.cadence import Cadence, PolicyCost
from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.learning import labels
from components.shared.project import Project
from components.shared.sequential.budget import AlertBudget

_log = logging.getLogger(__name__)

_EVERY_DAYS = (7, 14, 28, 56, 91, 182)
_MONTH_DAYS = 30.0
_NEARLY = 0.02
"""A policy that misses up to this share of the best saving, but trains less, is recommended instead."""


def recommend(project: Project, training_set: Path, seed: int) -> Cadence:
    """Measure every policy on the history.

    Args:
        project: Says what a decision is worth, what a training costs and when a label is known.
        training_set: The output of the step feature_retrieval: the labeled rows with their features.
        seed: Of the intervals.

    Raises:
        InputError: If the rows have no times, or are too few.
    """
    examples = read(project, training_set)
    promised = AlertBudget(project.monitoring.alerts.false_alarms, project.monitoring.alerts.days)
    run_length = promised.run_lengths({"loss": 0.5, "other": 0.5})["loss"]
    alarms_of = AlarmTest(run_length, project.monitoring.loss_increase)
    played = history.play(examples, project.label.delay_days, project.split.newest_days, alarms_of)
    document = compare(played, project.retraining.cost, unit(project), seed)
    _log.info("%d blocks of %.1f days: %s", len(played.rows), played.block_days, document.recommended)
    return document


def read(project: Project, training_set: Path) -> Examples:
    """Return the labeled rows in the order of their times."""
    table = pq.read_table(training_set / "rows.parquet")
    label, event_time = project.label.column, project.event_time
    table = table.filter(table[label].is_valid()).sort_by([(event_time, "ascending"), (project.entity, "ascending")])
    if not table.num_rows:
        raise InputError("no row of the history has a label; expected labeled rows from several months.")
    times = table[event_time].to_numpy().astype("datetime64[us]")
    if times[0] == times[-1]:
        raise InputError(f"all {table.num_rows:,} rows have the same {event_time}; expected rows from several months.")
    encoded = labels.learn(project, table, table)
    values = encoded.encode(table, label).astype(np.float64) * encoded.scale + encoded.mean
    return Examples(
        inputs=rows.inputs(table, rows.numeric_names(project), rows.categorical_names(project)),
        labels=values,
        days=(times - times[0]) / np.timedelta64(1, "D"),
        first=times[0].item(),
        task=project.task,
        value=project.value,
    )


def unit(project: Project) -> str:
    """Return the unit of the losses."""
    if project.task == "binary" and project.value is not None:
        return project.value.currency
    return "absolute error" if project.task == "regression" else "wrong answers"


@dataclass(frozen=True)
class Policy:
    """A policy, and the blocks as it would have gone through them."""

    name: str
    kind: Literal["never", "schedule", "alarm", "hindsight"]
    played: Played
    every_days: float | None = None


def compare(played: History, training_cost: float, unit_of_losses: str, seed: int) -> Cadence:
    """Put the policies side by side, and choose one."""
    best = Policy("with hindsight", "hindsight", policies.hindsight(played.losses, training_cost))
    followed = candidates(played)
    of_never = followed[0].played.cost(training_cost)
    costs = [_cost(policy, training_cost, of_never, played.block_days, seed) for policy in followed]
    end = played.start + len(played.rows) * timedelta(days=played.block_days)
    return Cadence(
        unit=unit_of_losses,
        training_cost=training_cost,
        start=played.start.isoformat(),
        end=end.isoformat(),
        block_days=played.block_days,
        rows=int(played.rows.sum()),
        policies=tuple(costs),
        hindsight=_cost(best, training_cost, of_never, played.block_days, seed),
        recommended=recommended(followed, training_cost, seed).name,
        decay=tuple(policies.decay(played.losses, played.rows)),
    )


def candidates(played: History) -> list[Policy]:
    """Follow every policy that can be followed: never first, on an alarm, and schedules of whole blocks."""
    followed = [
        Policy("never", "never", policies.follow(played.losses, policies.never)),
        Policy("on an alarm", "alarm", policies.follow(played.losses, policies.on_alarm(played.alarms))),
    ]
    for blocks in sorted({max(1, round(days / played.block_days)) for days in _EVERY_DAYS}):
        days = round(blocks * played.block_days, 1)
        if blocks < len(played.rows):
            schedule = policies.follow(played.losses, policies.every(blocks))
            followed.append(Policy(f"every {days:g} days", "schedule", schedule, days))
    return followed


def recommended(followed: Sequence[Policy], training_cost: float, seed: int) -> Policy:
    """Return the policy to follow.

    Without a schedule a model is trained on alarms, as the loop does, or never, whichever cost less. A schedule must
    have saved something beyond chance over that: the whole interval is above 0, at a level that allows for their
    number. Of those that saved nearly as much as the best one, the one that trains least is taken.
    """
    never, alarm, *schedules = followed
    costs = {policy.name: policy.played.cost(training_cost) for policy in followed}
    usual = never if costs[never.name].sum() < costs[alarm.name].sum() else alarm
    confidence = 1 - (1 - policies.CONFIDENCE) / max(1, len(schedules))
    saved = {
        policy.name: policies.saved(costs[policy.name], costs[usual.name], seed, confidence) for policy in schedules
    }
    proven = [policy for policy in schedules if saved[policy.name][1] > 0]
    if not proven:
        return usual
    best = max(saved[policy.name][0] for policy in proven)
    nearly = [policy for policy in proven if saved[policy.name][0] >= best * (1 - _NEARLY)]
    return min(nearly, key=lambda policy: len(policy.played.trained))


def _cost(
    policy: Policy, training_cost: float, of_never: NDArray[np.float64], block_days: float, seed: int
) -> PolicyCost:
    scale, cost = _MONTH_DAYS / block_days, policy.played.cost(training_cost)
    mean, low, high = (amount * scale for amount in policies.saved(cost, of_never, seed))
    return PolicyCost(
        name=policy.name,
        kind=policy.kind,
        every_days=policy.every_days,
        trainings=len(policy.played.trained),
        loss=float(policy.played.loss.mean() * scale),
        cost=float(cost.mean() * scale),
        saved=mean,
        saved_low=None if policy.kind == "never" else low,
        saved_high=None if policy.kind == "never" else high,
    )
