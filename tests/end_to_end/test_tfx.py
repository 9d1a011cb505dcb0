"""TFX's variant of training on a table that the project has never seen, and TFX's own pipeline as kfp's IR."""

from pathlib import Path

import pytest
import yaml
from kfp import components

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
