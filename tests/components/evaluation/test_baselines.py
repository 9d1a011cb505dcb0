"""The baselines learn from training rows only, and are good enough that beating them means something."""

import numpy as np
import pytest
from sklearn.metrics import r2_score, roc_auc_score

from components.evaluation import baselines, rule
from components.evaluation.baselines import Learnable
from components.shared.inputs.rows import Inputs

NAMES = (["x", "z"], ["plan"])


def rows(rng: np.random.Generator, count: int) -> Inputs:
    numeric = rng.normal(size=(count, 2)).astype(np.float32)
    return Inputs(numeric, rng.choice(["a", "b", "c"], (count, 1)).astype(object))


def parts(truth_of, seed: int = 0, count: int = 2000) -> tuple[Learnable, Learnable, Learnable]:
    rng = np.random.default_rng(seed)
    train, validation, test = (rows(rng, count) for _ in range(3))
    return (
        Learnable(train, truth_of(train, rng)),
        Learnable(validation, truth_of(validation, rng)),
        Learnable(test, truth_of(test, rng)),
    )


def rule_for(train, validation, test, task="binary", classes=("no", "yes")):
    how = {"task": task, "classes": list(classes), "names": NAMES, "value": None}
    return baselines.rule_of_thumb(train, validation, test.inputs, **how)


def test_the_rule_finds_a_threshold_that_decides():
    train, validation, test = parts(lambda inputs, _: (inputs.numeric[:, 1] >= 0.5).astype(int))

    found = rule_for(train, validation, test)

    assert found.description.startswith("z >= 0.")
    assert roc_auc_score(test.truth, found.score) > 0.97
    assert ((found.score >= found.threshold) == (found.score > 0.5)).all()


def test_the_rule_finds_a_category_that_decides():
    train, validation, test = parts(lambda inputs, rng: (inputs.categorical[:, 0] == "b") & (rng.random(2000) < 0.9))

    assert rule_for(train, validation, test).description.startswith("plan = 'b': ")


def test_the_rule_may_ask_what_is_missing():
    train, _, _ = parts(lambda inputs, _: np.zeros(2000))
    train.inputs.numeric[::3, 0] = np.nan
    targets = np.eye(2)[(np.arange(2000) % 3 == 0).astype(int)]

    assert rule.best(train.inputs, targets, *NAMES).question == "x is missing"


def test_the_gain_of_a_question_is_what_it_explains_of_the_sum_of_squares():
    rng = np.random.default_rng(3)
    inputs = rows(rng, 400)
    label = rng.normal(size=400) + 2 * (inputs.numeric[:, 0] > 0.3)

    found = rule.best(inputs, label[:, None], *NAMES)

    left = ((label - found.score(inputs)[:, 0]) ** 2).sum()
    assert found.gain == pytest.approx(((label - label.mean()) ** 2).sum() - left)


def test_a_question_that_only_fits_the_training_rows_gives_way_to_the_usual_answer():
    train, validation, test = parts(lambda inputs, _: (inputs.numeric[:, 0] > 0).astype(int))
    turned = Learnable(validation.inputs, 1 - validation.truth)

    found = rule_for(train, turned, test)

    assert found.description.startswith("always ")
    assert len(np.unique(found.score)) == 1


def test_a_side_of_the_question_holds_at_least_one_row_of_a_hundred():
    train, _, _ = parts(lambda inputs, _: np.zeros(2000))
    train.inputs.categorical[:19, 0] = "rare"
    rare = np.eye(2)[(np.arange(2000) < 19).astype(int)]

    assert rule.best(train.inputs, rare, *NAMES).question != "plan = 'rare'"

    train.inputs.categorical[19, 0] = "rare"
    assert rule.best(train.inputs, rare, *NAMES).question == "plan = 'rare'"


def test_a_regression_has_a_rule_in_the_labels_unit():
    train, validation, test = parts(lambda inputs, _: np.where(inputs.numeric[:, 0] > 0, 300.0, 100.0))

    found = rule_for(train, validation, test, task="regression", classes=())

    assert found.threshold is None
    assert r2_score(test.truth, found.score) > 0.9
