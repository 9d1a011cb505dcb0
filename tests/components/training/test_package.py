"""A model package is complete, its export answers as the trained model does, and its numbers can be made again."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest

from components.shared import files
from components.shared.documents.feature_views import FeatureViews
from components.shared.documents.model_facts import ModelFacts
from components.shared.documents.package_manifest import PackageManifest
from components.shared.documents.package_sample import PackageSample
from components.shared.documents.training_history import TrainingHistory
from components.shared.errors import StepFailed
from components.shared.inputs import rows
from components.shared.measures import value
from components.training import logic, parity
from tests import documents
from tests.components import made_splits

SEED = 5
PROJECT = made_splits.project(training={"epochs": 8, "families": ["network"]})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train once; the folder holds splits, study and model."""
    folder = tmp_path_factory.mktemp("made")
    documents.feature_views().write(made_splits.write(folder / "splits", made_splits.table(rows=1500)))
    made_splits.write_best(folder / "study", hidden="16", bins=8)
    logic.train(PROJECT, folder / "splits", folder / "study", SEED, folder / "model", folder / "plain")
    return folder


def validation(made: Path) -> tuple[rows.Inputs, np.ndarray]:
    table = pq.read_table(made / "splits/validation.parquet")
    asked = rows.inputs(table, rows.numeric_names(PROJECT), rows.categorical_names(PROJECT))
    return asked, rows.texts(table, "answer") == "yes"


def exported(model: Path, asked: rows.Inputs) -> np.ndarray:
    return onnxruntime.InferenceSession(str(model)).run(["score"], asked.feed())[0]


def loaded(made: Path) -> Any:
    # Imported after our own package, which says how TensorFlow is to compute: the first import decides it.
    import keras

    model = keras.models.load_model(made / "model/model.keras")
    return lambda asked: np.asarray(
        model({name: keras.ops.convert_to_tensor(part) for name, part in asked.feed().items()})
    )


def test_the_manifest_vouches_for_every_other_file(made):
    listed = PackageManifest.read(made / "model").files
    assert FeatureViews.read(made / "model") == documents.feature_views()
    names = {path.name for path in (made / "model").iterdir()}

    assert set(listed) == names - {"manifest.json"} >= {"model.keras", "model.onnx", "model.json", "seen.parquet"}
    assert listed == {name: files.sha256(made / "model" / name) for name in listed}


def test_the_saved_model_is_the_exported_one_over_everything_a_request_may_hold(made):
    asked, _ = validation(made)
    encoding = logic.prepare.encode(logic.prepare.read(PROJECT, made / "splits"), PROJECT.training).encoding
    edges = np.array([encoding.low, encoding.high], np.float32).T
    probe = parity.probe(asked, list(edges), seed=1)
    found = parity.check(loaded(made), made / "model/model.onnx", probe, 1e-5)

    assert found.max_abs_error <= 1e-5
    assert {"", "never seen", "東京"} <= set(probe.categorical.ravel())
    assert np.isnan(probe.numeric).any() and np.float32(1e30) in probe.numeric and np.float32(-1e30) in probe.numeric
    assert np.finfo(np.float32).max in probe.numeric


def test_an_export_with_one_weight_off_by_a_thousandth_is_refused(made, tmp_path):
    model = onnx.load(made / "model/model.onnx")
    bias = next(
        part for part in model.graph.initializer if part.dims == [1] and part.data_type == onnx.TensorProto.FLOAT
    )
    moved = onnx.numpy_helper.to_array(bias) + np.float32(1e-3)
    bias.CopyFrom(onnx.numpy_helper.from_array(moved, bias.name))
    onnx.save(model, tmp_path / "perturbed.onnx")

    with pytest.raises(StepFailed, match="differs from the trained one by up to"):
        parity.check(loaded(made), tmp_path / "perturbed.onnx", validation(made)[0], 1e-5)


def test_an_export_that_swaps_two_categories_is_refused(made, tmp_path):
    model = onnx.load(made / "model/model.onnx")
    encoder = next(node for node in model.graph.node if node.op_type == "LabelEncoder")
    keys = next(attribute for attribute in encoder.attribute if attribute.name == "keys_strings").strings
    keys[1], keys[2] = keys[2], keys[1]
    onnx.save(model, tmp_path / "perturbed.onnx")

    with pytest.raises(StepFailed, match="differs from the trained one"):
        parity.check(loaded(made), tmp_path / "perturbed.onnx", validation(made)[0], 1e-5)


def test_an_export_that_no_runtime_loads_is_refused_in_one_sentence(made, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")

    with pytest.raises(StepFailed, match="the exported model cannot answer") as refused:
        parity.check(loaded(made), tmp_path / "broken.onnx", validation(made)[0], 1e-5)
    assert "\n" not in str(refused.value)


def test_the_sample_is_answered_with_the_scores_it_comes_with(made):
    sample = PackageSample.read(made / "model")
    facts = ModelFacts.read(made / "model")
    numeric = [[np.nan if row[name] is None else row[name] for name in facts.numeric] for row in sample.rows]
    categorical = [[row[name] or "" for name in facts.categorical] for row in sample.rows]
    asked = rows.Inputs(np.array(numeric, np.float32), np.array(categorical, object))

    assert len(sample.rows) == 3
    assert exported(made / "model/model.onnx", asked) == pytest.approx(sample.scores, abs=1e-6)
    assert {type(row["paperless"]) for row in sample.rows} == {bool}


def test_the_threshold_is_the_best_one_on_the_validation_rows(made):
    asked, positive = validation(made)
    scores = exported(made / "model/model.onnx", asked)
    chosen = ModelFacts.read(made / "model").threshold

    assert PROJECT.value
    prices = PROJECT.value

    assert chosen == pytest.approx(value.best_threshold(scores, positive, prices), abs=1e-5)


def test_the_model_knows_more_than_the_share_of_positives(made):
    asked, positive = validation(made)
    scores = exported(made / "model/model.onnx", asked).astype(float)
    share = positive.mean()
    plain = -(share * np.log(share) + (1 - share) * np.log(1 - share))

    assert -np.where(positive, np.log(scores), np.log1p(-scores)).mean() < 0.85 * plain


def test_the_best_epochs_weights_are_the_ones_that_are_kept(made):
    story = TrainingHistory.read(made / "model")
    asked, positive = validation(made)
    scores = exported(made / "model/model.onnx", asked).astype(float)
    loss = -np.where(positive, np.log(scores), np.log1p(-scores)).mean()

    assert story.best_loss == min(epoch.validation_loss for epoch in story.history)
    assert loss == pytest.approx(story.best_loss, abs=1e-4)


def test_rows_that_were_seen_are_listed_and_test_rows_are_not(made):
    seen = set(pq.read_table(made / "model/seen.parquet").column("customer").to_pylist())
    parts = {name: set(pq.read_table(made / f"splits/{name}.parquet").column("customer").to_pylist()) for name in
             ("train", "validation", "test")}  # fmt: skip

    assert seen == parts["train"] | parts["validation"]
    assert not seen & parts["test"]


def test_another_process_with_the_same_seed_makes_the_same_model(made, tmp_path):
    program = (
        "import sys; from pathlib import Path; from components.training import logic;"
        "from tests.components.training import test_package as t; made, out = map(Path, sys.argv[1:]);"
        "logic.train(t.PROJECT, made / 'splits', made / 'study', t.SEED, out / 'model', out / 'plain')"
    )
    subprocess.run([sys.executable, "-c", program, str(made), str(tmp_path)], check=True, cwd=Path.cwd())
    one, two = (ModelFacts.read(folder) for folder in (made / "model", tmp_path / "model"))

    assert one == two
    assert one.weights_hash == two.weights_hash
    for name in ("model", "plain"):
        assert (made / name / "model.onnx").read_bytes() == (tmp_path / name / "model.onnx").read_bytes()


def test_another_seed_makes_another_model(made, tmp_path):
    facts = logic.train(PROJECT, made / "splits", made / "study", SEED + 1, tmp_path / "model", tmp_path / "plain")

    assert facts["weights_hash"] != ModelFacts.read(made / "model").weights_hash
