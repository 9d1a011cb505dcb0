"""The fixed set of old rows is chosen once, handed on unchanged, and answered by every candidate."""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.evaluation import old_rows
from components.shared import files
from components.shared.documents.evaluation import OldRows
from tests.components.evaluation.test_evaluate import Run, project, seen, table


def hand_on(run: Run) -> None:
    """Let the candidate be the champion of the next evaluation, with other test rows."""
    run.champion("1")
    shutil.copytree(run.folder / "model", run.folder / "champion/package")
    shutil.copyfile(run.folder / "evaluation" / OldRows.FILE, run.folder / "champion" / OldRows.FILE)
    pq.write_table(table(run.task, 300, seed=8), run.folder / "splits/test.parquet")


def measured(run: Run, **evaluation: Any) -> OldRows:
    old = run.evaluate(**evaluation).old_rows
    assert old is not None
    return old


def replace_candidate(run: Run, weight: float) -> None:
    shutil.rmtree(run.folder / "model")
    run.package("model", weight)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_first_release_chooses_them_and_later_candidates_answer_the_same(tmp_path, task):
    run = Run(tmp_path, task)
    first = measured(run)
    hand_on(run)
    same = measured(run)
    replace_candidate(run, -2.0)
    worse = measured(run)

    assert first.chosen_because == "no release before it had any" and first.loss == first.first_loss
    assert (same.content_hash, same.loss) == (first.content_hash, pytest.approx(first.loss))
    assert (same.chosen_because, worse.chosen_because) == (None, None)
    assert worse.first_loss == first.first_loss < worse.loss
    assert files.sha256(tmp_path / "evaluation" / OldRows.FILE) == worse.content_hash


def test_they_are_drawn_by_the_seed_and_hold_nothing_that_names_somebody(tmp_path, monkeypatch):
    monkeypatch.setattr(old_rows, "ROWS_MAX", 50)
    run = Run(tmp_path, "binary")
    one, same, other = (measured_with(run, seed) for seed in (7, 7, 8))
    rows = pq.read_table(tmp_path / "evaluation" / OldRows.FILE)

    assert one.content_hash == same.content_hash != other.content_hash
    assert one.rows == rows.num_rows == 50
    assert set(rows.column_names) == {"x", "noise", "plan", "label"}


def measured_with(run: Run, seed: int) -> OldRows:
    old = run.evaluate(seed=seed).old_rows
    assert old is not None
    return old


def test_the_loss_is_the_log_loss_of_these_rows(tmp_path):
    run = Run(tmp_path, "binary")
    old = measured(run)
    predictions = pq.read_table(tmp_path / "evaluation/predictions.parquet")
    score = predictions.column("candidate").to_numpy()
    is_yes = predictions.column("label").to_numpy(zero_copy_only=False) == "yes"

    assert old.rows == len(score)
    assert old.loss == pytest.approx(-np.log(np.where(is_yes, score, 1 - score)).mean(), rel=1e-5)


def test_rows_that_lack_a_feature_are_chosen_again_with_the_reason(tmp_path):
    run = Run(tmp_path, "binary")
    measured(run)
    hand_on(run)
    path = tmp_path / "champion" / OldRows.FILE
    pq.write_table(pq.read_table(path).drop_columns("noise"), path)

    assert measured(run).chosen_because == "the former ones lack ['noise']"


@pytest.mark.parametrize("is_trained_since", [True, False])
def test_after_a_dated_change_they_are_chosen_again_once_a_candidate_knows_only_the_time_since(
    tmp_path, monkeypatch, is_trained_since
):
    run = Run(tmp_path, "binary")
    newest = datetime.fromisoformat(measured(run).newest)
    hand_on(run)
    since = datetime(2031, 1, 1, tzinfo=UTC)
    assert newest < since
    of = project("binary")
    of = of.model_copy(update={"split": of.split.model_copy(update={"since": since})})
    monkeypatch.setattr("tests.components.evaluation.test_evaluate.project", lambda *_, **__: of)
    if is_trained_since:
        _learned_later(run, tmp_path, since)

    reason = "the former ones are from before 2031-01-01T00:00:00+00:00, since when the project has changed"
    assert measured(run).chosen_because == (reason if is_trained_since else None)


def _learned_later(run: Run, folder: Path, start: datetime) -> None:
    rows = pq.read_table(folder / "splits/train.parquet")
    later = rows.column("at").to_numpy() + np.timedelta64(int(start.timestamp() * 1_000_000), "us")
    shutil.rmtree(folder / "model")
    run.package("model", 2.0, seen=seen(rows.set_column(1, "at", [later]).cast(rows.schema)))
