"""Every package is calibrated on the validation rows, as the export answers them, and holds its level of others."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.shared.measures import conformal, labels
from components.shared.package.regions import Bounds, regions
from components.shared.package.table_model import TableModel
from components.training import parity
from components.training.families.catalog import FAMILIES
from tests.components import made_splits
from tests.components.training.test_tasks import trained

TASKS = ("binary", "multiclass", "regression")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_kept_is_what_the_export_answers_to_the_validation_rows(tmp_path, family, task):
    project = made_splits.project(task, training={"epochs": 5})
    facts, _, _ = trained(tmp_path, project, made_splits.table(task, rows=800), family)
    validation = pq.read_table(tmp_path / "splits/validation.parquet")
    model = TableModel.open(tmp_path / "model")
    truth = labels.labels(validation, "answer", list(facts.classes or ()))

    expected = conformal.calibrate(task, model.score(model.inputs(validation)), truth)

    assert facts.conformal is not None
    [kept], [measured] = facts.conformal.groups, expected.groups
    slack = 1e-5 if task != "regression" else parity.TOLERANCE * (abs(np.mean(truth)) + 2 * np.std(truth))
    assert (kept.rows, kept.ranks) == (measured.rows, measured.ranks) and kept.rows == facts.rows.validation == 160
    # Wider by what the export may differ, so that a row at the limit is inside whoever computes its score.
    distance = np.subtract(kept.scores, measured.scores)
    assert distance.min() > 0 and distance.max() < 2 * slack


@pytest.mark.parametrize("task", TASKS)
def test_the_level_is_held_of_rows_that_training_never_saw(tmp_path, task):
    facts, scores, test = trained(
        tmp_path, made_splits.project(task, training={"epochs": 15}), made_splits.table(task, rows=6000), None
    )
    truth = test.column("answer").to_pylist()

    for level in (0.5, 0.8, 0.9, 0.95):
        answered = regions(facts, scores, level)
        if isinstance(answered, Bounds):
            held = [
                low <= value <= high for low, value, high in zip(answered.lower, truth, answered.upper, strict=True)
            ]
        else:
            held = [str(value) in names for value, names in zip(truth, answered, strict=True)]
        # The rows of 1,200 calibrate and 1,200 others judge: both are a sample.
        assert np.mean(held) > level - 4 * np.sqrt(2 * level * (1 - level) / 1200)
        if task == "regression":
            assert np.mean(held) < level + 4 * np.sqrt(2 * level * (1 - level) / 1200) + 5 / 1200


def test_a_regression_with_few_rows_has_one_group_and_refuses_levels_that_they_cannot_answer(tmp_path):
    table = made_splits.table("regression", rows=100)
    facts, _, _ = trained(tmp_path, made_splits.project("regression", training={"epochs": 3}), table, "plain")

    assert facts.conformal is not None
    assert [group.rows for group in facts.conformal.groups] == [20]
    assert conformal.limits(facts.conformal, 0.95) is not None
    assert conformal.limits(facts.conformal, 0.96) is None
    assert conformal.highest_level(facts.conformal) == pytest.approx(20 / 21, abs=1e-4)
