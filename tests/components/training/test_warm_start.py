"""Training can continue the champion, on all rows or on new and some old ones; a family that cannot says why."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.preprocessing import PackagePreprocessing, TreesPreprocessing
from components.shared.documents.start import StartRecord
from components.shared.inputs import row_keys, rows
from components.shared.learning import labels, prepare
from components.shared.learning.trees import Forest
from components.shared.project import Project
from components.training import logic
from components.training.families import network, network_start, trees
from components.training.families import start as families_start
from components.training.families.start import Start
from tests.components import made_splits

FAMILIES = ("plain", "network", "trees", "blend")
TRAINING = {"epochs": 6, "trees": {"rounds": 40, "patience": 10}}


def project(family: str, task: str = "binary", method: str = "warm start", **sections: Any) -> Project:
    training = TRAINING | {"families": [family]}
    return made_splits.project(task, training=training, retraining={"method": method}, **sections)


def drifted(task: str = "binary", rows: int = 1200) -> pa.Table:
    """Return rows of a world in which the opposite is true of a plan, one plan is new, and no other changed."""
    table = made_splits.table(task, rows=rows, seed=9)
    plans = np.array(["new" if plan == "東京" else plan for plan in table.column("plan").to_pylist()], object)
    table = table.set_column(table.column_names.index("plan"), "plan", pa.array(plans.tolist()))
    if task == "regression":
        answers = table.column("answer").to_numpy() + np.where(plans == "plus", -150.0, 100.0)
        return table.set_column(table.column_names.index("answer"), "answer", pa.array(answers))
    turned = {"yes": "no", "no": "yes"}
    answers = [
        turned[answer] if plan == "plus" else answer
        for answer, plan in zip(table.column("answer").to_pylist(), plans, strict=True)
    ]
    return table.set_column(table.column_names.index("answer"), "answer", pa.array(answers))


def champion(folder: Path, of: Project, table: pa.Table | None = None) -> Path:
    """Train a champion, and return what the step champion hands on of it."""
    made_splits.write(folder / "splits", made_splits.table(of.task, rows=1200) if table is None else table)
    made_splits.write_best(folder / "study", hidden="16", bins=8)
    logic.train(of, folder / "splits", folder / "study", 5, folder / "model", folder / "plain")
    StartRecord(version="3").write(folder / "start")
    shutil.copytree(folder / "model", folder / "start" / StartRecord.PACKAGE)
    return folder / "start"


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Output ``start`` for a champion of each family."""
    return {family: champion(tmp_path_factory.mktemp(family), project(family, method="scratch")) for family in FAMILIES}


def splits(folder: Path, table: pa.Table) -> Path:
    return made_splits.write(folder / "splits", table)


def continued(folder: Path, start: Path | None, of: Project, table: pa.Table) -> ModelFacts:
    """Train on a table from a start; return the facts about the candidate, which is in ``model``."""
    made_splits.write_best(folder / "study", hidden="32,8", bins=16, learning_rate=0.02)
    logic.train(of, splits(folder, table), folder / "study", 7, folder / "model", folder / "plain", start)
    return ModelFacts.read(folder / "model")


def log_loss(package: Path, of: Project, folder: Path, splits: str = "splits") -> float:
    test = pq.read_table(folder / splits / "test.parquet")
    asked = rows.inputs(test, rows.numeric_names(of), rows.categorical_names(of))
    scores = onnxruntime.InferenceSession(str(package / "model.onnx")).run(["score"], asked.feed())[0]
    if of.task == "regression":
        return float(np.square(scores - test.column("answer").to_numpy()).mean())
    is_yes = np.array(test.column("answer").to_pylist()) == "yes"
    return float(-np.log(np.where(is_yes, scores, 1 - scores)).mean())


def leaves(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("leaf_value=")]


def test_continued_trees_are_the_champions_and_further_ones_that_lose_less(tmp_path, starts):
    of = project("trees")
    facts = continued(tmp_path, starts["trees"], of, drifted())
    package = starts["trees"] / StartRecord.PACKAGE
    before, after = (leaves((folder / "model.txt").read_text()) for folder in (package, tmp_path / "model"))

    assert len(after) > len(before) and after[: len(before)] == before
    assert log_loss(tmp_path / "model", of, tmp_path) < log_loss(package, of, tmp_path) - 0.03
    assert f"continued from the {len(before)} rounds of version 3" in facts.description


def test_a_continued_network_has_the_champions_shape_and_loses_less(tmp_path, starts):
    of = project("network")
    facts = continued(tmp_path, starts["network"], of, drifted(rows=3000))
    package = starts["network"] / StartRecord.PACKAGE

    assert (facts.hyperparameters["hidden"], facts.hyperparameters["bins"]) == ("16", 8)
    assert log_loss(tmp_path / "model", of, tmp_path) < log_loss(package, of, tmp_path) - 0.03
    assert "continued from version 3 for 6 epochs" in facts.description


@pytest.mark.parametrize("family", ["trees", "network"])
def test_every_class_is_continued(tmp_path, family):
    of = project(family, "multiclass")
    start = champion(tmp_path / "champion", of, made_splits.table("multiclass", rows=600))
    facts = continued(tmp_path, start, of, made_splits.table("multiclass", rows=600, seed=9))

    assert "continued from" in facts.description


@pytest.mark.parametrize("family", ["trees", "network", "blend"])
def test_a_regression_is_continued_in_the_unit_of_the_champions_label(tmp_path, family):
    of = project(family, "regression")
    start = champion(tmp_path / "champion", of)
    continued(tmp_path, start, of, drifted("regression"))
    before, after = (PackagePreprocessing.read(at) for at in (start / StartRecord.PACKAGE, tmp_path / "model"))

    assert (after.label_mean, after.label_scale) == (before.label_mean, before.label_scale)
    assert log_loss(tmp_path / "model", of, tmp_path) < log_loss(start / StartRecord.PACKAGE, of, tmp_path)


def read(folder: Path, start: Path, of: Project) -> tuple[prepare.RawData, Start]:
    data = prepare.read(of, folder / "splits")
    return data, families_start.read(of, start, data, folder / "splits", 3)


def test_a_network_that_trains_for_no_epoch_answers_like_the_champion(tmp_path, starts):
    of = project("network")
    splits(tmp_path, drifted())
    data, start = read(tmp_path, starts["network"], of)
    fitted = network.fit(data, of.training.model_copy(update={"epochs": 0}), 3, {}, start)
    test = pq.read_table(tmp_path / "splits/test.parquet")
    asked = rows.inputs(test, rows.numeric_names(of), rows.categorical_names(of))
    session = onnxruntime.InferenceSession(str(starts["network"] / StartRecord.PACKAGE / "model.onnx"))

    scores = data.target.scores(fitted.learned.logits(asked))
    assert np.abs(scores - session.run(["score"], asked.feed())[0]).max() < 1e-6


def test_trees_that_no_further_round_improves_are_the_champions(tmp_path, starts):
    of = project("trees")
    splits(tmp_path, drifted())
    data, start = read(tmp_path, starts["trees"], of)
    # Labels of the validation rows are what the champion answers: anything else loses more.
    began = Forest((start.package / "model.txt").read_text(), 1, 0.0, 0)
    columns = trees.fit(data, of.training, 3, {}, start).learned.columns
    sure = (began.logits(columns.matrix(data.validation))[:, 0] > 0).astype(np.float32)
    agreeing = prepare.replace(data, validation_labels=sure)
    settings = of.training.trees.model_copy(update={"rounds": 3, "learning_rate": 1.0})
    fitted = trees.fit(agreeing, of.training.model_copy(update={"trees": settings}), 3, {}, start)

    assert fitted.learned.forest.text == began.text
    assert fitted.progress.best_epoch == 0


def test_the_categories_of_the_champion_stay_the_only_ones(tmp_path, starts):
    for family in ("trees", "network"):
        facts = continued(tmp_path / family, starts[family], project(family), drifted())
        before = ModelFacts.read(starts[family] / StartRecord.PACKAGE)

        assert facts.vocabulary == before.vocabulary
        assert "new" not in facts.vocabulary["plan"] and "東京" in facts.vocabulary["plan"]


def test_a_category_that_the_new_rows_lack_keeps_its_weights(tmp_path, starts):
    of = project("network")
    splits(tmp_path, drifted())
    data, start = read(tmp_path, starts["network"], of)
    began = network_start.load(start, data.target, of.training)
    fitted = network.fit(data, of.training, 3, {}, start)
    number = 1 + began.encoding.keys().index("0:東京")
    before, after = (weights for weights in began.weights), iter(fitted.learned.core.get_weights())
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if len(a) == began.encoding.ids]

    assert len(pairs) == 2
    assert all((a[number] == b[number]).all() and not (a == b).all() for a, b in pairs)


def test_members_of_a_blend_are_continued_each_from_its_own(tmp_path, starts):
    learned = PackagePreprocessing.read(starts["blend"] / StartRecord.PACKAGE)
    facts = continued(tmp_path, starts["blend"], project("blend"), drifted())
    after = PackagePreprocessing.read(tmp_path / "model").members

    assert set(after) == {name.removeprefix("weight_") for name in facts.hyperparameters}
    for name in set(after) & set(learned.members) - {"plain"}:
        assert f"{name} continued from" in facts.description
    if "plain" in after:
        assert "plain fitted from scratch, because its optimum does not depend on a start" in facts.description


def test_the_same_seed_gives_the_same_bytes(tmp_path, starts):
    for family in ("trees", "network"):
        for name in ("a", "b"):
            continued(tmp_path / name / family, starts[family], project(family), drifted(rows=600))
        one, two = (PackageManifest.read(tmp_path / name / family / "model").files for name in ("a", "b"))

        # A Keras file is a zip with times, and the history holds a duration.
        different = {file for file in one if one[file] != two[file]}
        assert different <= {"model.keras", "training.json"}


@pytest.mark.parametrize("family", ["plain", "network"])
def test_a_champion_of_another_family_is_no_start_for_trees(tmp_path, starts, family):
    facts = continued(tmp_path, starts[family], project("trees"), drifted(rows=600))

    assert facts.description.endswith(f"fitted from scratch, because version 3 holds {family} and no trees")


def test_other_features_are_fitted_from_scratch_with_the_reason(tmp_path, starts, caplog):
    caplog.set_level("INFO")
    columns = {"usage": {"type": "numeric"}, "plan": {"type": "categorical"}, "age": {"type": "categorical"}}
    of = project("trees", features={"service": "made", "columns": columns})
    facts = continued(tmp_path, starts["trees"], of, drifted(rows=600))

    reason = "version 3 has other features than the project, which differ in ['paperless', 'region', 'spent']"
    assert facts.description.endswith(f"fitted from scratch, because {reason}")
    assert f"the trees begin from scratch, because {reason}" in caplog.text


def test_another_order_and_other_classes_are_no_start(tmp_path, starts):
    of = project("trees")
    splits(tmp_path, drifted(rows=600))
    columns = dict(reversed(of.features.columns.items()))
    turned = of.model_copy(update={"features": of.features.model_copy(update={"columns": columns})})
    data = prepare.read(of, tmp_path / "splits")
    others = prepare.replace(data, target=labels.LabelEncoding("binary", ("no", "maybe")))

    assert "in another order" in families_start.read(turned, starts["trees"], data, tmp_path / "splits", 3).refusal(
        "trees"
    )
    reason = families_start.read(of, starts["trees"], others, tmp_path / "splits", 3).refusal("trees")
    assert reason == "version 3 has the classes ['no', 'yes'] instead of ['no', 'maybe']"


def test_without_a_champion_and_with_an_older_package_training_begins_from_scratch(tmp_path, starts):
    StartRecord(version=None).write(tmp_path / "first")
    shutil.copytree(starts["network"], tmp_path / "older")
    (tmp_path / "older" / StartRecord.PACKAGE / PackagePreprocessing.FILE).unlink()
    reasons = {"first": "no version has been released yet", "older": "version 3 is of an older kind that keeps no"}
    for name, reason in reasons.items():
        facts = continued(tmp_path / name / "run", tmp_path / name, project("network"), drifted(rows=600))

        assert f"fitted from scratch, because {reason}" in facts.description


def test_from_scratch_the_champion_makes_no_difference(tmp_path, starts):
    of = project("trees", method="scratch")
    facts = [continued(tmp_path / name, start, of, drifted(rows=600)) for name, start in (("a", None), ("b", Path()))]

    assert facts[0] == facts[1] and facts[0].description.endswith("rows")
    for name in ("model.onnx", "model.txt", PackagePreprocessing.FILE):
        assert (tmp_path / "a/model" / name).read_bytes() == (tmp_path / "b/model" / name).read_bytes()


def directed(direction: str | None) -> Project:
    of = project("trees")
    columns = {name: spec.model_dump() for name, spec in of.features.columns.items()}
    columns["usage"] = {"type": "numeric", "monotone": direction}
    return project("trees", features={"service": "made", "columns": columns})


def test_continued_trees_follow_a_direction_and_are_no_start_for_another(tmp_path):
    start = champion(tmp_path / "champion", directed("increasing"))
    facts = continued(tmp_path / "same", start, directed("increasing"), drifted())
    table = pq.read_table(tmp_path / "same/splits/test.parquet").slice(0, 50)
    asked = rows.inputs(table, list(facts.numeric), list(facts.categorical))
    session = onnxruntime.InferenceSession(str(tmp_path / "same/model/model.onnx"))
    scores = []
    for usage in np.linspace(-3, 3, 25, dtype=np.float32):
        asked.numeric[:, facts.numeric.index("usage")] = usage
        scores.append(session.run(["score"], asked.feed())[0])

    assert "continued from" in facts.description
    assert (np.diff(scores, axis=0) >= -1e-6).all()
    learned = PackagePreprocessing.read(tmp_path / "same/model").members["trees"]
    assert isinstance(learned, TreesPreprocessing) and learned.monotone[facts.numeric.index("usage")] == 1
    without = continued(tmp_path / "without", start, directed(None), drifted(rows=600))
    turned = continued(tmp_path / "turned", start, directed("decreasing"), drifted(rows=600))
    assert "continued from" in without.description
    assert "do not keep to the features' directions (monotone)" in turned.description


# Incremental: the rows that the champion has not learned from, and some of the others.


def longer() -> pa.Table:
    """Return the champion's rows, which are old, and as many new ones of customers that it has never seen."""
    new = drifted()
    names = pa.array([f"new {name}" for name in new.column("customer").to_pylist()])
    new = new.set_column(new.column_names.index("customer"), "customer", names)
    return pa.concat_tables([made_splits.table(rows=1200), new])


def incremental(family: str, share: float) -> Project:
    of = project(family, method="incremental")
    return of.model_copy(update={"retraining": of.retraining.model_copy(update={"replay_share": share})})


@pytest.mark.parametrize("family", ["trees", "network"])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_an_incremental_training_takes_new_rows_and_the_stated_share_of_old_ones(tmp_path, starts, family, share):
    of = incremental(family, share)
    facts = continued(tmp_path, starts[family], of, longer())
    trained, seen = (pq.read_table(folder) for folder in (tmp_path / "splits/train.parquet", seen_by(starts[family])))
    old_keys = set(zip(*(seen[name].to_pylist() for name in ("customer", "at")), strict=True))
    is_old = [key in old_keys for key in zip(*(trained[name].to_pylist() for name in ("customer", "at")), strict=True)]
    new, old = is_old.count(False), round(is_old.count(False) * share / (1 - share))

    assert old > 0 or share == 0
    assert f" on {new:,} new rows and {old:,} old ones" in facts.description
    assert f"on {new + old:,} rows" in facts.description


def seen_by(start: Path) -> Path:
    return start / StartRecord.PACKAGE / PackageManifest.SEEN


def test_old_rows_keep_a_continued_model_from_forgetting_them(tmp_path, starts):
    losses = {}
    old = made_splits.write(tmp_path / "old", made_splits.table(rows=1200))
    for share in (0.0, 0.75):
        of = incremental("network", share)
        continued(tmp_path / str(share), starts["network"], of, longer())
        losses[share] = log_loss(tmp_path / str(share) / "model", of, old.parent, "old")

    assert losses[0.75] < losses[0.0]


def test_without_a_new_row_an_incremental_training_continues_on_all(tmp_path, starts):
    facts = continued(tmp_path, starts["trees"], incremental("trees", 0.5), made_splits.table(rows=1200))

    assert "on all 720 rows, because it has learned from each of them" in facts.description


def test_a_family_that_cannot_be_continued_is_fitted_to_all_rows(tmp_path, starts):
    facts = continued(tmp_path, starts["network"], incremental("trees", 0.25), longer())
    rows_to_train = pq.read_table(tmp_path / "splits/train.parquet").num_rows

    assert f"fitted on {rows_to_train:,} rows; fitted from scratch, because version 3 holds" in facts.description


@pytest.mark.parametrize("method", ["warm start", "incremental"])
def test_a_continued_model_has_seen_what_the_champion_has(tmp_path, starts, method):
    of = project("trees", method=method)
    continued(tmp_path, starts["trees"], of, longer().slice(600))
    before, after = (pq.read_table(at) for at in (seen_by(starts["trees"]), tmp_path / "model" / PackageManifest.SEEN))
    keys = [row_keys.keys(table, "customer", "at") for table in (before, after)]

    assert row_keys.is_in(*keys).all()
    assert len(keys[1].unique()) == len(keys[1]) > len(keys[0])


@pytest.mark.parametrize("method", ["warm start", "incremental"])
def test_a_project_that_has_nothing_to_continue_is_refused(method):
    with pytest.raises(ValueError, match=f"method' is '{method}', but a plain model cannot be continued, and .* add"):
        project("plain", method=method)
