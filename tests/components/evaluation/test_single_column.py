"""A column that knows the answer is named; one that merely helps is not."""

import numpy as np
import pytest

from components.evaluation.baselines import Learnable
from components.evaluation.single_column import strongest
from components.shared.documents.measurements import SingleColumn
from components.shared.inputs.rows import Inputs

NAMES = (["useful", "late"], ["reason"])


def learnable(seed: int, knows: str | None, task: str = "binary", rows: int = 1500) -> Learnable:
    """Rows of which ``useful`` explains part of the answer, and the column ``knows`` nearly all of it."""
    rng = np.random.default_rng(seed)
    useful, late = rng.normal(size=(2, rows))
    signal = useful + rng.logistic(size=rows)
    truth = signal if task == "regression" else (signal > 0).astype(int)
    reason = rng.choice(["a", "b"], rows).astype(object)
    if knows == "late":
        late = np.where(rng.random(rows) < 0.02, late, truth + rng.normal(size=rows) / 50)
    if knows == "reason":
        reason = np.where(truth == 1, rng.choice(["price", "moved"], rows), "").astype(object)
    return Learnable(Inputs(np.stack([useful, late], axis=1).astype(np.float32), reason[:, None]), truth)


def found(knows: str | None, candidate: np.ndarray | None = None, task: str = "binary") -> SingleColumn:
    test = learnable(2, knows, task)
    score = test.inputs.numeric[:, 0].astype(np.float64) if candidate is None else candidate
    column = strongest(
        learnable(1, knows, task), test, score, task=task, classes=0 if task == "regression" else 2, names=NAMES
    )
    assert column is not None
    return column


@pytest.mark.parametrize("knows", ["late", "reason"])
def test_a_column_that_nearly_gives_the_answer_away_is_named(knows):
    column = found(knows, learnable(2, knows).truth + np.random.default_rng(0).normal(size=1500) / 3)

    assert column.column == knows
    assert column.alone > 0.95
    assert f"'{knows}' alone reaches auc" in (column.remark or "")


def test_a_column_that_helps_is_the_strongest_and_not_suspected():
    column = found(None)

    assert (column.column, column.metric, column.remark) == ("useful", "auc", None)
    assert 0.7 < column.alone < 0.85


def test_a_model_that_is_too_good_is_remarked_on_though_no_column_explains_it():
    column = found(None, learnable(2, None).truth.astype(float))

    assert "auc 1.0000 is almost perfect" in (column.remark or "")


def test_the_leak_of_a_regression_is_named():
    column = found("late", learnable(2, "late", "regression").truth, "regression")

    assert (column.column, column.metric) == ("late", "r2")
    assert column.remark is not None


def test_an_only_column_is_nobodys_leak():
    only = Learnable(Inputs(np.arange(40, dtype=np.float32)[:, None], np.empty((40, 0), object)), np.arange(40) % 2)

    assert strongest(only, only, np.arange(40) / 40, task="binary", classes=2, names=(["x"], [])) is None


def test_a_category_that_every_row_has_once_is_no_leak():
    rng = np.random.default_rng(0)
    train, test = (
        Learnable(
            Inputs(
                rng.normal(size=(400, 1)).astype(np.float32), np.array([[f"{seed}-{i}"] for i in range(400)], object)
            ),
            rng.integers(0, 2, 400),
        )
        for seed in (1, 2)
    )

    column = strongest(train, test, rng.random(400), task="binary", classes=2, names=(["x"], ["key"]))

    assert column is not None
    assert column.remark is None
