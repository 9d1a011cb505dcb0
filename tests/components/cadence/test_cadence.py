"""The recommendation follows the history: no training where nothing ages, and fewer where they cost more."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.cadence import history, logic
from components.cadence.history import AlarmTest
from components.shared.errors import InputError
from components.shared.project import Project
from tests.components import made_candidate

START = datetime(2025, 1, 1)


def project(task: str = "binary", **sections: Any) -> Project:
    features = {"columns": {"amount": {"type": "numeric", "missing": True}, "plan": {"type": "categorical"}}}
    return made_candidate.project(
        task=task,
        features=made_candidate.project().features.model_dump() | features,
        **sections,
    )


def written(folder: Path, rows: int = 6000, days: float = 365, turn: float = 0.0, task: str = "binary") -> Path:
    """Write a history in which the effect of the amount turns round by ``turn`` in all (2 is the opposite effect)."""
    draws = np.random.default_rng(7)
    of_project = project(task)
    at = np.sort(draws.random(rows)) * days
    amount, plan = draws.normal(size=rows), draws.choice(["a", "b", "c"], rows)
    logit = 2.5 * amount * (1 - turn * at / max(days, 1.0)) + 0.5 * (plan == "a")
    positive = draws.random(rows) < 1 / (1 + np.exp(-logit))
    answers = np.where(positive, "yes", "no") if task == "binary" else logit + draws.normal(size=rows)
    folder.mkdir(parents=True, exist_ok=True)
    table = {
        of_project.entity: [f"C{number}" for number in range(rows)],
        of_project.event_time: pa.array([START + timedelta(days=day) for day in at], pa.timestamp("us")),
        of_project.label.column: answers,
        "amount": np.where(draws.random(rows) < 0.05, np.nan, amount),
        "plan": plan,
    }
    pq.write_table(pa.table(table), folder / "rows.parquet")
    return folder


def test_where_nothing_ages_no_training_pays(tmp_path):
    document = logic.recommend(project(retraining={"cost": 5.0}), written(tmp_path), seed=7)

    assert document.chosen.kind in ("never", "alarm") and document.chosen.trainings <= 1


def test_where_the_world_turns_round_training_pays_and_hindsight_is_not_beaten(tmp_path):
    document = logic.recommend(project(retraining={"cost": 1.0}), written(tmp_path, turn=2.0), seed=7)

    assert document.chosen.kind in ("schedule", "alarm") and document.chosen.trainings > 3
    assert document.chosen.saved > 0
    assert all(policy.saved <= document.hindsight.saved + 1e-9 for policy in document.policies)
    assert document.decay[-1] > document.decay[1] >= document.decay[0] == 0
    alarm = next(policy for policy in document.policies if policy.kind == "alarm")
    assert alarm.trainings > 0 and alarm.saved > 0


def test_the_dearer_a_training_the_fewer_are_recommended(tmp_path):
    rows = written(tmp_path, turn=2.0)

    trainings = [
        logic.recommend(project(retraining={"cost": cost}), rows, seed=7).chosen.trainings
        for cost in (0.0, 3.0, 10_000.0)
    ]

    assert trainings[0] > trainings[1] > trainings[2] == 0


def test_rows_that_come_once_a_month_leave_blocks_without_rows(tmp_path):
    document = logic.recommend(project(), monthly(written(tmp_path, turn=2.0)), seed=7)

    assert document.rows < 6000
    assert [policy.trainings for policy in document.policies[2:]] == sorted(
        (policy.trainings for policy in document.policies[2:]), reverse=True
    )
    assert document.policies[2].saved > 0 and document.hindsight.saved >= document.policies[2].saved


def monthly(history: Path) -> Path:
    """Let all rows of a month have the time of its first day."""
    table, column = pq.read_table(history / "rows.parquet"), project().event_time
    first = [moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0) for moment in table[column].to_pylist()]
    index = table.column_names.index(column)
    pq.write_table(table.set_column(index, column, pa.array(first, pa.timestamp("us"))), history / "rows.parquet")
    return history


def test_no_model_learns_from_labels_that_are_not_known_yet(tmp_path):
    """The effect of the amount turns at once in the middle; labels are known 60 days later."""
    examples = logic.read(project(), turned_at(written(tmp_path), 180.0))

    played = history.play(examples, delay_days=60, window_days=None, alarms_of=AlarmTest(730))
    after_days = (played.start - START).days + played.block_days * np.arange(len(played.rows)) - 180
    late = int(np.flatnonzero(after_days > 120)[0])
    wrong = played.losses[:, late]

    # A model that could not know of the turn yet is as wrong as one from before it.
    blind = [wrong[block] for block in np.flatnonzero((after_days > 0) & (after_days < 55))]
    assert np.allclose(blind, wrong[0], rtol=0.25)
    assert played.alarms[0] >= 0 and after_days[played.alarms[0]] >= 60


def turned_at(history_folder: Path, day: float) -> Path:
    """Let every answer from a day on be the opposite."""
    table, of = pq.read_table(history_folder / "rows.parquet"), project()
    turned = [moment >= START + timedelta(days=day) for moment in table[of.event_time].to_pylist()]
    answers = table[of.label.column].to_pylist()
    opposite = [{"yes": "no", "no": "yes"}[a] if t else a for a, t in zip(answers, turned, strict=True)]
    index = table.column_names.index(of.label.column)
    pq.write_table(table.set_column(index, of.label.column, pa.array(opposite)), history_folder / "rows.parquet")
    return history_folder


def test_a_regression_is_measured_by_its_errors(tmp_path):
    document = logic.recommend(project("regression"), written(tmp_path, turn=2.0, task="regression"), seed=7)

    assert document.unit == "absolute error"
    assert document.chosen.saved > 0


def test_what_decisions_are_worth_is_the_loss(tmp_path):
    value = {"currency": "EUR", "benefit": 10, "false_positive_cost": 1}
    document = logic.recommend(project(value=value), written(tmp_path, turn=2.0), seed=7)

    assert document.unit == "EUR"
    assert all(policy.loss < 0 for policy in document.policies[1:]), "decisions that are worth something lose nothing"


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({"days": 5.0}, "the labeled rows span 5.0 days, and labels are known after"),
        ({"rows": 90}, r"labeled rows with \d classes are known up to 2025-"),
        ({"days": 0.0}, "all 6,000 rows have the same"),
    ],
)
def test_a_history_that_is_too_short_is_refused_with_a_sentence(tmp_path, history, message):
    with pytest.raises(InputError, match=message):
        logic.recommend(project(), written(tmp_path, **history), seed=7)
