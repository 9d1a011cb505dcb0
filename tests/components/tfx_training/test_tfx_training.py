"""TFX's pipeline on a small table: what it learns, measures, blesses and keeps."""

import importlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from google.protobuf import text_format
from ml_metadata import metadata_store
from sklearn.metrics import roc_auc_score
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import v1 as tfx
from tfx.dsl.components.base.base_node import BaseNode

from components.shared.documents.tfx_evaluation import TfxEvaluation
from components.shared.errors import GateRejected, InputError
from components.shared.inputs import rows
from components.shared.package.model_package import ModelPackage
from components.shared.project import Project
from components.tfx_training import chain, logic, records, schema
from pipelines.definitions import tfx_compile
from tests.components import made_splits
from tests.components.tfx_training.launcher import Launcher

ROOT = Path(__file__).parents[3]

SCHEMA = """
feature { name: "plan" type: BYTES string_domain { name: "plan" value: "basic" value: "plus" } }
feature { name: "usage" type: FLOAT }
"""


def bundled(folder: Path, project: Project, text: str = SCHEMA) -> Path:
    """Write what a step needs of a project bundle."""
    with zipfile.ZipFile(folder / "project.zip", "w") as archive:
        archive.writestr("project.json", project.model_dump_json())
        archive.writestr(f"feature_repo/schema/{next(iter(project.sources))}.pbtxt", text)
    return folder / "project.zip"


@dataclass(frozen=True)
class Made:
    """What one run of the step left."""

    project: Project
    splits: Path
    model: Path
    root: Path

    @property
    def measured(self) -> TfxEvaluation:
        return TfxEvaluation.read(self.model)

    def scores(self, *rows: dict[str, Any]) -> np.ndarray:
        """Ask the pushed model as TF Serving does, with serialized examples."""
        asked = [serialized(row) for row in rows]
        served = tf.saved_model.load(str(self.model / "saved_model")).signatures["serving_default"]
        return served(examples=tf.constant(asked))["score"].numpy()


def run(folder: Path, task: str, **sections: Any) -> Made:
    """Run the step on a made table."""
    project = made_splits.project(task, training={"epochs": 12, "families": ["network"]}, **sections)
    made_splits.write(folder / "splits", made_splits.table(task, rows=1500))
    made_splits.write_best(folder / "study", hidden="16", bins=8)
    made = Made(project, folder / "splits", folder / "model", folder / "root")
    logic.train(bundled(folder, project), made.splits, folder / "study", 5, made.model, made.root)
    return made


@pytest.fixture(scope="module", params=["binary", "regression"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    evaluation = {"slices": ["region"]} if request.param == "binary" else {}
    return run(tmp_path_factory.mktemp(request.param), request.param, evaluation=evaluation)


def serialized(row: dict[str, Any]) -> bytes:
    """Write a row as TFX reads it; None is missing."""
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
        if isinstance(value, str)
        else tf.train.Feature(float_list=tf.train.FloatList(value=[float(value)]))
        for name, value in row.items()
        if value is not None
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


ROW = {"usage": 0.0, "age": 40, "spent": 20.0, "plan": "plus", "region": "n", "paperless": 1}


def test_every_standard_component_ran_and_ml_metadata_knows_it(made):
    config = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(made.root / logic.METADATA))
    executions = metadata_store.MetadataStore(config).get_executions()

    assert {execution.type.rpartition(".")[2] for execution in executions} == {
        "ImportExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "Transform", "Trainer", "Evaluator",
        "Pusher",
    }  # fmt: skip
    assert all(execution.last_known_state == execution.COMPLETE for execution in executions)


def test_it_learns_what_the_table_follows_and_evaluator_measures_it_on_the_test_rows(made):
    metrics = made.measured.metrics
    task = made.project.task

    assert made.measured.blessed
    assert metrics["example_count"] == 300
    good = {
        "binary": lambda: metrics["auc"] > 0.8,
        # A constant would have an error of about 90.
        "regression": lambda: metrics["mean_absolute_error"] < 65,
    }
    assert good[task](), metrics


def test_the_pushed_model_answers_serialized_examples_as_the_evaluator_measured(made):
    table = pq.read_table(made.splits / "test.parquet")
    rows = [{name: row[name] for name in ROW} for row in table.to_pylist()]
    scores, answers = made.scores(*rows), table.column("answer").to_pylist()

    if made.project.task == "binary":
        assert roc_auc_score([answer == "yes" for answer in answers], scores) == pytest.approx(
            made.measured.metrics["auc"], abs=0.002
        )
    else:
        error = np.abs(scores - np.array(answers)).mean()
        assert error == pytest.approx(made.measured.metrics["mean_absolute_error"], rel=0.01)


def test_the_package_answers_as_the_saved_model_does(made):
    asked = [
        ROW,
        ROW | {"usage": None},
        ROW | {"plan": "never seen"},
        ROW | {"spent": 1e30, "age": -5},
        {"region": "s"},
    ]
    numeric, categorical = rows.numeric_names(made.project), rows.categorical_names(made.project)
    tensors = {
        "numeric": np.array([[row.get(name) for name in numeric] for row in asked], np.float32),
        "categorical": np.array([[row.get(name) or "" for name in categorical] for row in asked], object),
    }
    package = ModelPackage.open(made.model / "package")

    assert np.allclose(package.score(tensors), made.scores(*asked), atol=package.facts.tolerance)


def test_a_zero_is_a_number_and_not_a_missing_value(made):
    zero, missing, unknown = made.scores(ROW, ROW | {"usage": None}, ROW | {"plan": "never seen"})

    assert not np.allclose(zero, missing, atol=1e-4)
    assert np.isfinite(unknown).all()
    assert np.array_equal(made.scores(ROW)[0], zero)


def test_what_the_reviewed_schema_does_not_allow_is_found_in_every_split(made):
    found = made.measured.anomalies

    assert {sentence.partition(":")[0] for sentence in found} == {"train", "eval", "test"}
    assert all(": plan: " in sentence and "Prämie" in sentence for sentence in found)


def test_slices_of_the_project_are_measured(made):
    if made.project.task == "binary":
        assert set(made.measured.slices) == {"region = n", "region = s"}
        assert all(0.7 < values["auc"] < 1 for values in made.measured.slices.values())
    else:
        assert made.measured.slices == {}


def test_a_model_below_a_floor_of_the_gate_is_measured_but_not_blessed_and_not_pushed(tmp_path):
    with pytest.raises(GateRejected, match=r"not bless the model: sparse_categorical_accuracy is 0\.\d*; nothing was"):
        run(tmp_path, "multiclass", gate={"floors": {"accuracy": 0.999}})

    measured = TfxEvaluation.read(tmp_path / "model")
    assert not measured.blessed
    # The most frequent of the three classes has 40 % of the rows.
    assert measured.metrics["sparse_categorical_accuracy"] > 0.55
    assert not (tmp_path / "model" / "saved_model").exists()


def test_a_bound_that_evaluator_cannot_check_is_refused():
    project = made_splits.project(gate={"floors": {"recall": 0.5}})

    with pytest.raises(InputError, match=r"the gate bounds 'recall', which .* expected some of \['auc', 'log_loss'\]"):
        chain.evaluation(project, 0.5)


def test_records_keep_zeros_and_leave_out_what_is_missing(tmp_path):
    made_splits.write(tmp_path / "splits", made_splits.table(rows=200))
    labels = records.write(made_splits.project(), tmp_path / "splits", tmp_path / "examples")

    rows = pq.read_table(tmp_path / "splits" / "train.parquet").to_pylist()
    files = str(tmp_path / "examples" / "train" / "rows.tfrecord.gz")
    read = [tf.train.Example.FromString(raw) for raw in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator()]
    assert (labels.encoding.classes, labels.baseline) == (("no", "yes"), 0.5)
    assert len(read) == len(rows)
    for row, example in zip(rows, read, strict=True):
        feature = example.features.feature
        assert list(feature["paperless"].float_list.value) == [float(row["paperless"])]
        assert len(feature["usage"].float_list.value) == (row["usage"] is not None)
        assert [word.decode() for word in feature["plan"].bytes_list.value] == ([row["plan"]] if row["plan"] else [])
        assert list(feature["answer"].float_list.value) == [float(row["answer"] == "yes")]


class TestSchema:
    def test_it_joins_what_the_project_and_the_reviewed_schemas_say(self, tmp_path):
        project = made_splits.project()
        written = schema.write(project, bundled(tmp_path, project), tmp_path)
        features = {
            feature.name: feature for feature in text_format.Parse(written.read_text(), schema_pb2.Schema()).feature
        }

        assert set(features) == {*project.features.columns, "answer"}
        assert list(features["plan"].string_domain.value) == ["basic", "plus"]
        assert features["age"].presence.min_fraction == 1
        assert features["usage"].presence.min_fraction == 0

    def test_one_that_contradicts_the_project_names_the_column(self, tmp_path):
        project = made_splits.project()
        bundle = bundled(tmp_path, project, 'feature { name: "usage" type: BYTES }')

        with pytest.raises(InputError, match=r"'usage' is text, the project file that it is numeric"):
            schema.write(project, bundle, tmp_path)

    def test_one_that_is_none_is_refused(self, tmp_path):
        project = made_splits.project()

        with pytest.raises(InputError, match=r"feature_repo/schema/rows.pbtxt is not a schema of TensorFlow Metadata"):
            schema.write(project, bundled(tmp_path, project, "feature {"), tmp_path)


def test_tfx_compiles_its_own_pipeline_from_what_a_run_left(made):
    image = "eu-docker.pkg.dev/p/perennial/tfx_training:1"
    spec = tfx_compile.compile_(made.root / "inputs", "gs://bucket/made", image)

    executors = spec["deploymentSpec"]["executors"]
    assert (spec["schemaVersion"], spec["pipelineInfo"]["name"]) == ("2.0.0", "made-tfx")
    assert {executor["container"]["image"] for executor in executors.values()} == {image}
    assert set(spec["root"]["dag"]["tasks"]) == {
        "ImportExampleGen", "StatisticsGen", "ImportSchemaGen", "ExampleValidator", "Transform", "Trainer", "Evaluator",
        "Pusher",
    }  # fmt: skip
    assert "gs://bucket/made/inputs/examples" in json.dumps(spec)


@pytest.mark.parametrize("made", ["binary"], indirect=True)
def test_the_command_lines_of_tfx_own_pipeline_push_a_blessed_model_as_pods_would(made, tmp_path):
    shutil.copytree(made.root / "inputs", tmp_path / "inputs")
    # A folder for the bucket: TFX opens both alike.
    spec = tfx_compile.compile_(tmp_path / "inputs", str(tmp_path), "eu-docker.pkg.dev/p/perennial/tfx_training:1")
    launcher = Launcher(spec, tmp_path / "runs", carry_out)
    launcher.to_the_end()

    (blessing,) = launcher.outputs["Evaluator"]["blessing"]["artifacts"]
    (pushed,) = launcher.outputs["Pusher"]["pushed_model"]["artifacts"]
    assert (blessing["metadata"]["blessed"], pushed["metadata"]["pushed"]) == (1.0, 1.0)
    (version,) = (tmp_path / "pushed").iterdir()
    assert pushed["metadata"]["pushed_destination"] == str(version)
    served = tf.saved_model.load(str(version)).signatures["serving_default"]
    assert served(examples=tf.constant([serialized(ROW)]))["score"].numpy() == pytest.approx(made.scores(ROW), abs=0.2)


def carry_out(line: Sequence[str]) -> None:
    """Run a command line of a container: Trainer's in a process of its own, since it fixes the number of threads."""
    _, flag, name, *arguments = line
    assert flag == "-m", line
    if any(argument.startswith("tfx.components.trainer.") for argument in arguments):
        subprocess.run([sys.executable, *line[1:]], check=True, capture_output=True, cwd=ROOT)
        return
    module = importlib.import_module(name)
    module.main(module._parse_flags([name, *arguments]))


def test_the_page_for_users_of_tfx_maps_every_standard_component():
    page = (ROOT / "docs" / "from-tfx.md").read_text(encoding="utf-8")
    standard = {
        name for name, each in vars(tfx.components).items() if isinstance(each, type) and issubclass(each, BaseNode)
    }

    assert len(standard) == 14
    assert {name for name in standard if f"`{name}`" not in page} == set()


def test_a_schema_that_tfx_wrote_can_be_the_reviewed_schema_of_a_source(made, tmp_path):
    (theirs,) = (made.root / "components" / "ImportSchemaGen").glob("schema/*/schema.pbtxt")
    written = schema.write(made.project, bundled(tmp_path, made.project, theirs.read_text()), tmp_path)

    assert written.read_text() == (made.root / "inputs" / "schema.pbtxt").read_text()
