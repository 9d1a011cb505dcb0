"""Every family of models takes all three tasks, and tables that are hardly tables, and answers every row."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.training_history import TrainingHistory
from components.shared.inputs import rows
from components.shared.learning import fitting
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Project
from components.training import logic
from components.training.families.catalog import FAMILIES, candidate
from components.training.families.family import FittedModel
from tests.components import made_splits

every_family = pytest.mark.parametrize("family", FAMILIES)


def trained(
    folder: Path, project: Project, table: pa.Table, family: str | None = "network", **hyperparameters: Any
) -> tuple[ModelFacts, np.ndarray, Any]:
    """Train one family, or all; return what the package says, the export's scores of the test rows, and those rows."""
    if family is not None:
        training = project.training.model_copy(update={"families": (family,)})
        project = project.model_copy(update={"training": training})
    made_splits.write(folder / "splits", table)
    made_splits.write_best(folder / "study", **hyperparameters)
    logic.train(project, folder / "splits", folder / "study", 1, folder / "model", folder / "plain")
    test = pq.read_table(folder / "splits/test.parquet")
    asked = rows.inputs(test, rows.numeric_names(project), rows.categorical_names(project))
    session = onnxruntime.InferenceSession(str(folder / "model/model.onnx"))
    return ModelFacts.read(folder / "model"), session.run(["score"], asked.feed())[0], test


@every_family
def test_a_regression_answers_in_the_labels_unit_and_better_than_the_mean(tmp_path, family):
    project = made_splits.project("regression", training={"epochs": 10})
    facts, scores, test = trained(tmp_path, project, made_splits.table("regression", rows=1500), family)
    truth = test.column("answer").to_numpy()

    assert facts.threshold is None and facts.classes is None
    assert scores.shape == truth.shape
    assert np.mean((scores - truth) ** 2) < 0.6 * np.var(truth)


@every_family
def test_a_multiclass_model_answers_one_probability_per_class(tmp_path, family):
    project = made_splits.project("multiclass", training={"epochs": 10, "class_weight": "balanced"})
    facts, scores, test = trained(tmp_path, project, made_splits.table("multiclass", rows=1000), family)
    truth = test.column("answer").to_numpy()

    assert facts.classes == ("0", "1", "2") and facts.positive is None
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (scores.argmax(axis=1) == truth).mean() > np.bincount(truth).max() / len(truth) + 0.05


def odd_project(task: str, columns: dict[str, str]) -> Any:
    return made_splits.project(
        task,
        features={"service": "made", "columns": {name: {"type": kind} for name, kind in columns.items()}},
        training={"epochs": 3},
    )


@every_family
def test_columns_without_values_or_spread_with_huge_values_or_thousands_of_categories_do_no_harm(tmp_path, family):
    random = np.random.default_rng(0)
    table = made_splits.table(rows=3000)
    huge = random.normal(size=3000)
    huge[::50] = 1e30
    odd = {
        "empty": pa.nulls(3000),
        "constant": pa.array([7.0] * 3000),
        "huge": pa.array(huge),
        "largest": pa.array(np.where(random.random(3000) < 0.5, 1e300, -1e300)),
        "flag": pa.array([None if x < 0.1 else bool(x < 0.5) for x in random.random(3000)]),
        "blank": pa.nulls(3000),
        "address": pa.array([f"Straße {number}" for number in random.integers(0, 2500, 3000)]),
    }
    for name, column in odd.items():
        table = table.append_column(name, column)
    kinds = ["numeric", "numeric", "numeric", "numeric", "boolean", "categorical", "categorical"]
    project = odd_project("binary", {"usage": "numeric", **dict(zip(odd, kinds, strict=True))})
    facts, scores, _ = trained(tmp_path, project, table, family)

    assert np.isfinite(scores).all() and ((scores >= 0) & (scores <= 1)).all()
    assert scores.std() > 0.05
    assert len(facts.vocabulary["address"]) == project.training.max_vocabulary
    assert facts.vocabulary["blank"] == ()


@every_family
def test_a_hundred_rows_of_numbers_alone_are_enough(tmp_path, family):
    table = made_splits.table("multiclass", rows=100)
    project = odd_project("multiclass", {"usage": "numeric", "age": "numeric"})
    facts, scores, _ = trained(tmp_path, project, table, family)

    assert facts.categorical == ()
    assert scores.shape == (20, 3)


@every_family
def test_categories_alone_are_enough_and_a_wide_model_has_no_deep_part(tmp_path, family):
    table = made_splits.table("regression", rows=100)
    project = odd_project("regression", {"plan": "categorical", "region": "categorical"})
    facts, scores, _ = trained(tmp_path, project, table, family, hidden="none")

    assert facts.numeric == ()
    assert np.isfinite(scores).all() and scores.shape == (20,)


@every_family
def test_a_category_that_training_never_saw_is_answered_as_an_average_one(tmp_path, family):
    project = odd_project("binary", {"plan": "categorical"})
    trained(tmp_path, project, made_splits.table(rows=1000), family, hidden="8")
    session = onnxruntime.InferenceSession(str(tmp_path / "model/model.onnx"))
    known = np.array([[plan] for plan in (*made_splits.PLANS, "")], object)
    scores = session.run(["score"], {"categorical": known})[0]
    unseen = session.run(["score"], {"categorical": np.array([["Ünknown"], ["other"]], object)})[0]

    assert unseen[0] == unseen[1]
    assert scores.min() < unseen[0] < scores.max()


def test_balanced_weights_give_each_class_the_same_total():
    labels = np.array([0] * 90 + [1] * 10, np.float32)
    weights = fitting.class_weights(labels, LabelEncoding("binary", ("no", "yes")), "balanced")

    assert weights[0] * 90 == pytest.approx(weights[1] * 10)
    assert weights[labels.astype(int)].mean() == pytest.approx(1)


def test_training_stops_when_patience_is_used_up(tmp_path):
    project = made_splits.project("regression", training={"epochs": 200, "patience": 2})
    trained(tmp_path, project, made_splits.table("regression", rows=400))
    story = TrainingHistory.read(tmp_path / "model")

    assert len(story.history) == story.best_epoch + 2 < 200


def curve_of(numbers: Any, noise: float, seed: int) -> pa.Table:
    """Return rows whose positives depend on one number, through a curve that no straight line follows."""
    table, random = made_splits.table(rows=2000, seed=seed), np.random.default_rng(seed)
    usage = random.normal(size=2000)
    answer = np.where(numbers(usage) + noise * random.logistic(size=2000) > 0, "yes", "no")
    at = table.column_names.index
    return table.set_column(at("usage"), "usage", pa.array(usage)).set_column(at("answer"), "answer", pa.array(answer))


def losses(family: str, rows: Any) -> FittedModel:
    """A fitted model of which only the validation losses matter."""
    nothing: Any = None
    return FittedModel(family, nothing, nothing, nothing, {}, nothing, np.asarray(rows, float), "")


def test_the_simpler_family_is_the_candidate_unless_the_other_is_better_by_more_than_a_standard_error():
    noise = np.random.default_rng(0).normal(size=400)
    plain = losses("plain", np.full(400, 0.5))

    def chosen(gain_in_errors: float) -> str:
        difference = noise - noise.mean()
        gain = gain_in_errors * difference.std() / np.sqrt(400)
        return candidate({"network": losses("network", 0.5 + difference - gain), "plain": plain})

    assert [chosen(errors) for errors in (-1.0, 0.0, 0.9, 1.1, 5.0)] == ["plain"] * 3 + ["network"] * 2


def test_a_family_without_a_finite_loss_is_no_candidate_and_a_single_family_is():
    broken, network = losses("plain", [np.nan, 0.1]), losses("network", [0.9, 0.8])

    assert candidate({"plain": broken, "network": network}) == "network"
    assert candidate({"network": network}) == "network"


def test_the_best_family_is_the_candidate_and_the_plain_model_is_there_to_compare(tmp_path):
    project = made_splits.project(training={"epochs": 3})
    facts, _, _ = trained(tmp_path, project, made_splits.table(rows=600), None)
    story, plain = TrainingHistory.read(tmp_path / "model"), ModelFacts.read(tmp_path / "plain")

    assert set(story.families) == {"plain", "network", "trees", "blend"}
    assert facts.family in story.families
    assert plain.family == "plain" and "logistic regression" in plain.description
    assert (facts == plain) == (facts.family == "plain")


def test_the_plain_model_follows_a_curve_that_no_straight_line_can(tmp_path):
    project = odd_project("binary", {"usage": "numeric"})
    table = curve_of(lambda usage: np.abs(usage) - 0.7, 0.0, seed=2)
    _, scores, test = trained(tmp_path, project, table, "plain")
    positive = np.array(test.column("answer").to_pylist()) == "yes"

    assert scores[positive].mean() > 0.9 > 0.1 > scores[~positive].mean()
