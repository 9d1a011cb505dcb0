"""Trees are exported as they were fitted, on both sides of every cut; the blend of families is never a leak."""

import dataclasses
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from components.shared.errors import InputError
from components.shared.inputs import rows
from components.shared.inputs.rows import Inputs
from components.shared.learning import families, onnx_graph, onnx_trees, prepare, trees
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Project, Training, Trees
from components.training.families import blend
from components.training.families import trees as family
from components.training.families.family import FittedModel, Progress
from tests.components import made_splits

BINARY = LabelEncoding("binary", ("no", "yes"))


def data(inputs: Inputs, labels: Any, target: LabelEncoding = BINARY) -> prepare.RawData:
    """Return raw data whose first two thirds are training rows."""
    answers, cut = np.asarray(labels, np.float32), len(inputs) * 2 // 3
    train, validation = inputs.take(np.arange(cut)), inputs.take(np.arange(cut, len(inputs)))
    return prepare.RawData(train, validation, answers[:cut], answers[cut:], target)


def numbers(*columns: Any) -> Inputs:
    matrix = np.array(columns, np.float32).T
    return Inputs(matrix, np.empty((len(matrix), 0), object))


def words(*columns: Any) -> Inputs:
    matrix = np.array(columns, object).T
    return Inputs(np.empty((len(matrix), 0), np.float32), matrix)


def fitted(raw: prepare.RawData, **hyperparameters: Any) -> FittedModel:
    training = Training(trees=Trees.model_validate({"rounds": 60, "min_rows": 1, **hyperparameters}))
    return family.fit(raw, training, 3, {})


def exported(model: FittedModel, target: LabelEncoding, asked: Inputs) -> np.ndarray:
    graph = onnx_graph.graph(model.encoding, target, model.learned.nodes)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return session.run(["score"], asked.feed())[0]


def same(model: FittedModel, target: LabelEncoding, asked: Inputs) -> bool:
    expected = target.scores(model.learned.logits(asked))
    return bool(np.abs(exported(model, target, asked) - expected).max() <= 1e-5 * max(1.0, abs(target.mean)))


def test_a_row_on_a_cut_or_next_to_it_takes_the_same_branch_in_the_export():
    random = np.random.default_rng(0)
    values = np.round(random.normal(size=(2, 3000)), 1)
    labels = (np.sin(values[0] * 4) + random.normal(size=3000) * 0.3 > 0).astype(float)
    model = fitted(data(numbers(*values), labels), leaves=31)
    first, second = model.learned.edges()
    on_cuts = numbers(np.concatenate([first, np.zeros_like(second)]), np.concatenate([np.zeros_like(first), second]))
    thresholds = [
        value
        for node in onnx_graph.graph(model.encoding, BINARY, model.learned.nodes).graph.node
        if node.op_type == "TreeEnsembleRegressor"
        for attribute in node.attribute
        if attribute.name == "nodes_values"
        for value in attribute.floats
    ]

    assert same(model, BINARY, on_cuts)
    # The test can fail: many thresholds lie between two numbers that float32 can hold, and some are rounded up.
    text = model.learned.forest.text
    originals = [float(t) for line in text.splitlines() if line.startswith("threshold=") for t in line[10:].split()]
    assert any(float(np.float32(threshold)) > threshold for threshold in originals)
    assert all(float(np.float32(value)) == value for value in thresholds)


@given(threshold=st.floats(allow_nan=False), value=st.floats(width=32, allow_nan=False))
def test_a_rounded_threshold_divides_float32_values_as_lightgbm_does(threshold, value):
    # LightGBM drops values of at most 1e-35 when it reads a row.
    taken = 0.0 if abs(value) <= np.float32(1e-35) else value

    assert (np.float32(value) <= onnx_trees.below(threshold)) == (taken <= threshold)


@pytest.mark.parametrize("share_missing", [0.0, 0.3])
def test_a_missing_number_is_answered_as_lightgbm_does_whether_or_not_training_had_one(share_missing):
    random = np.random.default_rng(1)
    values = random.normal(size=2000) + 5
    labels = (values > 5).astype(float)
    values[random.random(2000) < share_missing] = np.nan
    model = fitted(data(numbers(values, -values), labels))

    assert same(model, BINARY, numbers([np.nan, np.nan, 0.0, -0.0], [np.nan, 3.0, np.nan, 0.0]))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), count=st.integers(2, 60))
def test_sets_of_categories_are_exported_as_lightgbm_splits_them(seed, count):
    random = np.random.default_rng(seed)
    number = random.integers(0, count, 1500)
    labels = (random.random(count)[number] + random.normal(size=1500) * 0.2 > 0.5).astype(float)
    labels[:2] = 0, 1
    model = fitted(data(words([f"w{value}" for value in number]), labels))
    asked = words(["", "never seen", *(f"w{value}" for value in range(count))])

    assert same(model, BINARY, asked)


def test_an_unknown_category_is_answered_as_the_most_average_one():
    share = {"low": 0.1, "middle": 0.45, "high": 0.9}
    plans = np.array(list(share) * 400)
    labels = (np.random.default_rng(2).random(1200) < [share[plan] for plan in plans]).astype(float)
    model = fitted(data(words(plans), labels))
    scores = exported(model, BINARY, words(["low", "middle", "high", "unknown", ""]))

    assert scores[3] == scores[4] == scores[1]
    assert scores[0] < scores[1] < scores[2]


def test_rare_categories_teach_the_trees_what_an_unknown_one_is():
    plans = np.array(["common"] * 600 + [f"rare {number}" for number in range(600)])
    labels = np.array([0.0] * 600 + [1.0] * 600)
    order = np.random.default_rng(3).permutation(1200)
    raw = data(words(plans[order]), labels[order])
    model = family.fit(raw, Training(max_vocabulary=2, trees=Trees(min_rows=1)), 3, {})
    common, unknown = exported(model, BINARY, words(["common", "rare 10000"]))

    assert common < 0.1 and unknown > 0.9


def test_a_class_without_a_training_row_gets_hardly_any_probability():
    target = LabelEncoding("multiclass", ("a", "b", "c"))
    values = np.arange(300) % 2
    labels = values.astype(float)
    labels[-1] = 2
    model = fitted(data(numbers(values), labels, target))
    scores = exported(model, target, numbers([0.0, 1.0]))

    assert scores.argmax(axis=1).tolist() == [0, 1]
    assert scores[:, 2].max() < 0.01


def test_the_export_holds_one_node_for_all_trees():
    random = np.random.default_rng(4)
    values = random.normal(size=900)
    model = fitted(data(numbers(values), (values > 0).astype(float)))
    graph = onnx_graph.graph(model.encoding, BINARY, model.learned.nodes)
    onnx.checker.check_model(graph, full_check=True)

    assert [node.op_type for node in graph.graph.node].count("TreeEnsembleRegressor") == 1


def answers(name: str, logits: Any) -> FittedModel:
    """A fitted model that answered the validation rows with these log-odds."""
    nothing: Any = None
    column = np.asarray(logits, float)[:, None]
    return FittedModel(name, nothing, nothing, Progress(0.0, 0.0), {}, column, BINARY.losses(column, LABELS), "")


LABELS = np.array([0, 1] * 200, np.float32)


def blended(**models: Any) -> FittedModel:
    raw = data(numbers(np.zeros(1200)), np.resize(LABELS, 1200))
    return blend.fit(raw, Training(), 5, {name: answers(name, logits) for name, logits in models.items()})


def test_two_models_with_errors_of_their_own_are_mixed_and_a_useless_one_is_left_out():
    random = np.random.default_rng(6)
    truth = 2.0 * (LABELS - 0.5)
    one, two = (truth + random.normal(size=400) for _ in range(2))
    noise = 3 * random.normal(size=400)
    mixed = blended(one=one, two=two, noise=noise)

    assert set(mixed.hyperparameters) == {"weight_one", "weight_two"}
    assert sum(float(weight) for weight in mixed.hyperparameters.values() if weight) == pytest.approx(1)
    assert mixed.validation_loss < min(answers("one", one).validation_loss, answers("two", two).validation_loss)


def test_the_losses_of_a_blend_are_those_of_rows_that_did_not_choose_its_weights():
    random = np.random.default_rng(7)
    useless = {f"m{number}": 0.3 * random.normal(size=400) for number in range(6)}
    mixed = blended(**useless)
    seen = BINARY.losses(mixed.validation_logits, LABELS).mean()

    assert mixed.validation_loss > seen


def test_a_project_that_names_the_trees_is_told_what_is_missing_and_one_that_does_not_goes_on(monkeypatch, caplog):
    # An entry of None makes Python's own import fail, as on a machine without the library.
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    assert families.offered(project_of()) == ("plain", "network", "blend")
    assert "libgomp1" in caplog.text and "left out" in caplog.text
    with pytest.raises(InputError, match=r"'trees' needs LightGBM, which cannot be loaded.*'training: families'"):
        families.fitted(project_of("plain", "trees"))


def test_the_blend_alone_mixes_every_family_and_beside_others_only_those():
    assert families.fitted(project_of("blend")) == {"blend", "plain", "network", "trees"}
    assert families.members(project_of("network", "blend")) == {"network"}
    assert families.fitted(project_of("network", "blend")) == {"network", "blend", "plain"}


def project_of(*names: str) -> Project:
    """Return a project that names these families, or none."""
    return made_splits.project(training={"families": list(names)} if names else {})


COLUMNS = {"usage": {"type": "numeric", "monotone": "increasing"}, "age": {"type": "numeric", "monotone": "decreasing"},
           "plan": {"type": "categorical"}}  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), task=st.sampled_from(["binary", "regression"]))
def test_a_score_follows_the_direction_of_its_features_whatever_the_rows_say(seed, task):
    random = np.random.default_rng(seed)
    features = Inputs(
        random.normal(size=(600, 2)).round(1).astype(np.float32),
        random.choice(["a", "b", "c"], (600, 1)).astype(object),
    )
    noisy = -features.numeric[:, 0] + np.sin(5 * features.numeric[:, 1]) + random.normal(size=600)
    target = BINARY if task == "binary" else LabelEncoding("regression", None, 10.0, 2.0)
    raw = dataclasses.replace(data(features, noisy > 0 if task == "binary" else noisy, target), monotone=(1, -1))
    model = family.fit(raw, Training(trees=Trees(rounds=40, min_rows=2)), seed, {})
    grid = np.linspace(-4, 4, 81, dtype=np.float32)
    for column, sign in ((0, 1), (1, -1)):
        asked = np.repeat(features.numeric[:1], len(grid), axis=0)
        asked[:, column] = grid
        scores = exported(model, target, Inputs(asked, np.repeat(features.categorical[:1], len(grid), axis=0)))

        assert (sign * np.diff(scores) >= -1e-6).all()


def test_only_trees_are_a_candidate_where_a_feature_has_a_direction():
    project = made_splits.project(features={"service": "made", "columns": COLUMNS})

    assert families.offered(project) == ("trees",)
    assert families.fitted(project) == {"trees", "plain"}
    assert project.features.monotone == {"usage": 1, "age": -1}


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"features": {"service": "m", "columns": {"plan": {"type": "categorical", "monotone": "increasing"}}}},
         "'monotone' is for numeric features, and this one is categorical"),
        ({"features": {"service": "m", "columns": COLUMNS}, "training": {"families": ["plain"]}}, "add trees"),
        ({"features": {"service": "m", "columns": COLUMNS}, "task": "multiclass", "value": None}, "several classes"),
    ],
)  # fmt: skip
def test_a_direction_that_cannot_be_kept_is_refused_in_a_sentence(sections, says):
    with pytest.raises(ValidationError, match=says):
        made_splits.project(**sections)


def test_the_same_rows_and_seed_give_the_same_trees_and_another_seed_others():
    table = made_splits.table(rows=900)
    project = made_splits.project()
    asked = rows.inputs(table, rows.numeric_names(project), rows.categorical_names(project))
    raw = data(asked, np.array(table.column("answer").to_pylist()) == "yes")
    one, two = (fitted(raw, row_share=0.8).learned.content() for _ in range(2))
    other = family.fit(raw, Training(trees=Trees(rounds=60, min_rows=1)), 4, {}).learned.content()

    assert one == two != other


def test_trees_bins_are_shared_by_fits_with_other_hyperparameters():
    random = np.random.default_rng(8)
    values = random.normal(size=(2, 1500))
    raw = data(numbers(*values), (values[0] * values[1] > 0).astype(float))
    prepared = prepare.for_trees(raw, Training())
    small, large = Trees(leaves=2, feature_share=1), Trees(leaves=31, feature_share=1)
    shared = trees.Boosting(prepared.train, prepared.validation, prepared.numbers)
    first, second = (shared.fit(BINARY, settings, seed=1) for settings in (small, large))
    alone = trees.Boosting(prepared.train, prepared.validation, prepared.numbers).fit(BINARY, large, seed=1)

    assert second.text == alone.text
    assert second.best_loss < first.best_loss - 0.1
