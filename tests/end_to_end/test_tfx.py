"""TFX's variant of training on a table that the project has never seen, and TFX's own pipeline as kfp's IR."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from kfp import components

from components.shared import inference, polling
from components.shared.documents.package_sample import PackageSample
from components.shared.errors import StepFailed
from pipelines.images import environments
from pipelines.targets.vertex import lint
from tests.end_to_end.command import perennial, records, write_table


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A project whose columns have names in other scripts, trained by TFX."""
    folder = tmp_path_factory.mktemp("tfx")
    write_table(folder / "vans.csv")
    perennial("init", "vans.csv", "--label", "Churn", "--entity", "customerID", "--out", "vans", cwd=folder)
    return folder / "vans", perennial("run", "--pipeline", "tfx-training", cwd=folder / "vans").stdout


def test_the_run_says_what_tfx_measured_and_leaves_a_saved_model(trained):
    project, said = trained

    assert "TFX blessed the model: auc 0." in said
    assert "released" not in said
    (record,) = records(project)
    model = Path(record["artifacts"]["tfx_training.model"])
    assert (record["exit_code"], (model / "saved_model" / "saved_model.pb").is_file()) == (0, True)


def test_tfx_own_pipeline_is_loaded_by_kfp_and_accepted_by_the_rules_of_vertex_ai(trained):
    project, _ = trained
    target = ("--target", "vertex", "--set", "project=my-project")
    said = perennial("compile", *target, "--tfx", "gs://bucket/vans", "--out", "compiled", cwd=project).stdout

    file = project / "compiled" / "tfx-native.json"
    assert "inputs to gs://bucket/vans/inputs before a run of it" in said
    assert components.load_component_from_file(str(file)).name == "vans-tfx"
    assert list(lint.problems(yaml.safe_load(file.read_text()))) == []


@contextmanager
def served(package: Path) -> Iterator[str]:
    """Serve a package with the model server, as a pod does."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    python = environments.virtualenv(environments.lock_of("serving"))
    command = [str(python), "-m", "serving", "--name", "vans", "--version", "1", "--model-dir", str(package)]
    process = subprocess.Popen([*command, "--port", str(port)], cwd=environments.ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        assert polling.within(lambda: is_ready(url), 120, 0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def is_ready(url: str) -> bool:
    try:
        return inference.call(url, "/v2/health/ready", timeout_s=20)[0] == 200
    except StepFailed:
        return False


def test_our_server_answers_from_an_imported_model_as_tensorflow_does(trained):
    project, _ = trained
    saved_model = Path(records(project)[0]["artifacts"]["tfx_training.model"]) / "saved_model"
    said = perennial("import", saved_model, "imported", cwd=project).stdout
    # The sample's scores are TensorFlow's.
    sample = PackageSample.read(project / "imported")
    with served(project / "imported") as url:
        answer = inference.predict(url, "vans", [dict(row) for row in sample.rows])

    assert "answers as the SavedModel does on the rows of run" in said
    assert [row["score"] for row in answer["predictions"]] == pytest.approx(list(sample.scores), abs=1e-5)
    assert answer["classes"] == ["No", "Yes"]
    again = perennial("import", saved_model, "imported", cwd=project, expect=2).stderr
    assert "imported already exists" in again
    wrong = perennial("import", saved_model, "other", "--signature", "predict", cwd=project, expect=2).stderr
    assert "has no signature 'predict'; expected one of ['serving_default']" in " ".join(wrong.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "vertex", "--tfx", "s3://bucket/x"), "TFX reads gs://bucket/prefix"),
        (("--tfx", "gs://bucket/x"), "name its target, as in --target vertex"),
        (("--target", "vertex", "--tfx", "gs://bucket/x"), "call 'perennial run --pipeline tfx-training' first"),
    ],
)
def test_what_is_missing_for_tfx_own_pipeline_is_said(tmp_path, arguments, sentence):
    write_table(tmp_path / "rows.csv", rows=60)
    perennial("init", "rows.csv", "--label", "Churn", "--entity", "customerID", "--out", "vans", cwd=tmp_path)

    assert sentence in " ".join(perennial("compile", *arguments, cwd=tmp_path / "vans", expect=2).stderr.split())
