"""Every metric equals scikit-learn's under any weights, and is undefined rather than wrong where it cannot be taken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from components.shared.measures.metric_names import HIGHER_IS_BETTER, MEASURED, PRIMARY, SELECTABLE
from components.shared.measures.metrics import scorecard
from components.shared.measures.ranking import Ranking


def draw(seed: int, rows: int, ties: bool) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.random(rows).round(1 if ties else 12)
    return rng, score, rng.integers(0, 4, (3, rows)).astype(float)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans(), rows=st.integers(10, 60))
def test_binary_metrics_equal_those_of_scikit_learn_for_every_weighting(seed, ties, rows):
    rng, score, weights = draw(seed, rows, ties)
    truth = rng.random(rows) < 0.4
    truth[:2] = [False, True]
    weights[:, :2] = 1.0
    said = score >= 0.45

    found = scorecard("binary", truth, score, 0.45).measure(weights)

    for i, weight in enumerate(weights):
        with_weight = {"sample_weight": weight}
        expected = {
            "auc": sk.roc_auc_score(truth, score, **with_weight),
            "average_precision": sk.average_precision_score(truth, score, **with_weight),
            "brier": sk.brier_score_loss(truth, score, **with_weight),
            "log_loss": sk.log_loss(truth, np.clip(score, 1e-7, 1 - 1e-7), **with_weight),
            "accuracy": sk.accuracy_score(truth, said, **with_weight),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said, **with_weight),
            "precision": sk.precision_score(truth, said, zero_division=np.nan, **with_weight),
            "recall": sk.recall_score(truth, said, **with_weight),
            "f1": sk.f1_score(truth, said, **with_weight),
            "false_positive_rate": 1 - sk.recall_score(~truth, ~said, **with_weight),
            "selection_rate": np.average(said, weights=weight),
        }
        assert {name: values[i] for name, values in found.items()} == pytest.approx(expected, nan_ok=True)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(70, 100))
def test_multiclass_metrics_equal_those_of_scikit_learn(seed, rows):
    rng, _, weights = draw(seed, rows, ties=False)
    truth = rng.permutation(np.arange(rows) % 3)
    truth[:3] = [0, 1, 2]
    weights[:, :3] = 1.0
    score = rng.dirichlet(np.ones(3), rows)
    said = score.argmax(axis=1)

    found = scorecard("multiclass", truth, score, None).measure(weights)

    for i, weight in enumerate(weights):
        one_against_rest = [sk.roc_auc_score(truth == c, score[:, c], sample_weight=weight) for c in range(3)]
        expected = {
            "auc_ovr": np.mean(one_against_rest),
            "accuracy": sk.accuracy_score(truth, said, sample_weight=weight),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, said, sample_weight=weight),
            "macro_f1": sk.f1_score(truth, said, average="macro", sample_weight=weight),
            "log_loss": sk.log_loss(truth, score, sample_weight=weight),
        }
        assert {name: values[i] for name, values in found.items()} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_regression_metrics_equal_those_of_scikit_learn_also_far_from_zero(offset):
    rng, _, weights = draw(3, 50, ties=False)
    truth = rng.normal(size=50) + offset
    score = truth + rng.normal(size=50) / 3

    found = scorecard("regression", truth, score, None).measure(weights)

    for i, weight in enumerate(weights):
        expected = {
            "r2": sk.r2_score(truth, score, sample_weight=weight),
            "rmse": sk.root_mean_squared_error(truth, score, sample_weight=weight),
            "mae": sk.mean_absolute_error(truth, score, sample_weight=weight),
            "mean_error": np.average(score - truth, weights=weight),
            "scaled_error_p90": np.quantile(np.abs(score - truth), 0.9, weights=weight, method="inverted_cdf")
            / truth.std(),
        }
        assert {name: values[i] for name, values in found.items()} == pytest.approx(expected, rel=1e-6)


def test_a_resample_without_a_class_has_no_auc():
    card = scorecard("binary", np.array([0, 0, 1]), np.array([0.1, 0.2, 0.9]), 0.5)

    assert np.isnan(card.primary(np.array([[1.0, 1.0, 0.0]]))[0])


def test_a_class_without_test_rows_is_left_out_of_the_mean():
    truth, score = np.array([0, 0, 2, 2]), np.array([[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.1, 0.8]] * 2)

    found = scorecard("multiclass", truth, score, None).measure(np.ones((1, 4)))

    assert {name: found[name][0] for name in ("auc_ovr", "accuracy", "balanced_accuracy", "macro_f1")} == {
        "auc_ovr": 1.0, "accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0,
    }  # fmt: skip


def test_a_constant_label_has_no_r2():
    card = scorecard("regression", np.array([5.0, 5.0, 6.0]), np.array([5.0, 5.0, 6.0]), None)

    assert np.isnan(card.primary(np.array([[3.0, 2.0, 0.0]]))[0])


def test_precision_is_undefined_when_nobody_is_acted_on():
    card = scorecard("binary", np.array([0, 1]), np.array([0.1, 0.2]), 0.5)

    assert np.isnan(card.measure(np.ones((1, 2)))["precision"][0])


def test_a_score_equal_to_the_threshold_is_acted_on():
    card = scorecard("binary", np.array([0, 1, 1]), np.array([0.1, 0.5, 0.49]), 0.5)

    assert card.measure(np.ones((1, 3)))["recall"][0] == 0.5


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_metric_has_a_declared_direction(task):
    truth = np.array([0, 1, 2]) if task == "multiclass" else np.array([0, 1, 0])
    score = np.eye(3) if task == "multiclass" else np.array([0.1, 0.9, 0.2])

    measured = scorecard(task, truth, score, 0.5).measure(np.ones((1, 3)))

    assert set(measured) <= set(HIGHER_IS_BETTER)
    assert PRIMARY[task] in measured


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), ties=st.booleans())
def test_the_thinned_roc_curve_rises_from_nobody_to_everybody_and_keeps_its_area(seed, ties):
    rng, score, _ = draw(seed, 3000, ties)
    truth = rng.random(3000) < score

    curve = Ranking.of(truth, score).roc(points=200)

    assert len(curve.fpr) <= 200
    assert (curve.fpr[0], curve.tpr[0], curve.fpr[-1], curve.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.fpr) >= 0).all()
    assert (np.diff(curve.thresholds) < 0).all()
    assert np.isfinite(curve.thresholds).all()
    assert sk.auc(curve.fpr, curve.tpr) == pytest.approx(sk.roc_auc_score(truth, score), abs=0.003)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_named_metrics_of_a_task_are_those_that_are_measured_and_any_selectable_one_can_be_the_main_one(task):
    rng, one = np.random.default_rng(0), np.ones((1, 60))
    truth = rng.normal(size=60) if task == "regression" else np.arange(60) % (2 if task == "binary" else 3)
    score = rng.dirichlet(np.ones(3), 60) if task == "multiclass" else rng.random(60)
    measured = scorecard(task, truth, score, None).measure(one)

    assert set(measured) == set(MEASURED[task])
    assert set(SELECTABLE[task]) <= {name for name in MEASURED[task] if HIGHER_IS_BETTER[name] is not None}
    for name in SELECTABLE[task]:
        main = scorecard(task, truth, score, None, name)
        assert main.primary(one) == pytest.approx(measured[name])
        assert main.subset(np.arange(30)).primary(one[:, :30]) == pytest.approx(
            scorecard(task, truth[:30], score[:30], None).measure(one[:, :30])[name]
        )


def test_a_class_of_a_few_rows_has_no_say_in_the_main_metric():
    rng, one = np.random.default_rng(0), np.ones((1, 205))
    truth = np.repeat([0, 1, 2], [100, 100, 5])
    score = rng.dirichlet(np.ones(3), 205)
    worse = score.copy()
    worse[200:] = [0.5, 0.5, 0.0]

    assert scorecard("multiclass", truth, score, None).averaged == (0, 1)
    assert scorecard("multiclass", truth[:105], score[:105], None).averaged == (0, 1)
    assert scorecard("multiclass", truth, worse, None).primary(one) == pytest.approx(
        np.mean([sk.roc_auc_score(truth == c, worse[:, c]) for c in (0, 1)])
    )


def test_a_slice_is_measured_on_the_classes_that_all_rows_are_measured_on():
    truth = np.repeat([0, 1, 2], [100, 100, 25])
    score = np.random.default_rng(0).dirichlet(np.ones(3), 225)
    part = np.arange(80, 215)

    measured = scorecard("multiclass", truth, score, None).subset(part)

    assert measured.averaged == (0, 1, 2)
