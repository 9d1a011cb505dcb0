"""A run that is made again is compared to the last digit; what only a clock measured is left out."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipelines import runs
from pipelines.command import cli
from pipelines.images.recipes import recipe
from pipelines.runs import reproduction
from tests import documents
from tests.pipelines import toy


def candidate(folder: Path) -> dict[str, str]:
    """Write what a candidate leaves; return its artifacts."""
    documents.split().write(folder / "splits")
    documents.model_facts().write(folder / "model")
    documents.training_history().write(folder / "model")
    documents.evaluation().write(folder / "report")
    documents.verdict().write(folder / "verdict.json")
    return {
        "split.splits": str(folder / "splits"),
        "training.model": str(folder / "model"),
        "evaluation.report": str(folder / "report"),
        "gate.verdict": str(folder / "verdict.json"),
    }


def change(path: Path, *keys: str, value: object) -> None:
    document = json.loads(path.read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    path.write_text(json.dumps(document))


def test_equal_candidates_have_no_difference(tmp_path):
    compared, different = reproduction.differences(candidate(tmp_path / "a"), candidate(tmp_path / "b"))

    assert compared == ["split", "model", "training", "evaluation", "verdict"]
    assert different == []


def test_the_last_digit_counts_and_times_do_not(tmp_path):
    first, second = candidate(tmp_path / "a"), candidate(tmp_path / "b")
    before = json.loads((tmp_path / "b/report/evaluation.json").read_text())["metrics"]["auc"]["value"]
    after = before + 2e-16
    assert after != before
    change(tmp_path / "b/report/evaluation.json", "metrics", "auc", "value", value=after)
    change(tmp_path / "b/report/evaluation.json", "cost", "latency_ms_p50", value=9.0)
    change(tmp_path / "b/model/training.json", "duration_s", value=99.0)
    change(tmp_path / "b/model/model.json", "weights_hash", value="f" * 64)

    _, different = reproduction.differences(first, second)

    assert different == [
        reproduction.Difference("model", "weights_hash", "a" * 64, "f" * 64),
        reproduction.Difference("evaluation", "metrics.auc.value", before, after),
    ]


def test_a_document_that_only_one_run_has_is_a_difference(tmp_path):
    first, second = candidate(tmp_path / "a"), candidate(tmp_path / "b")
    (tmp_path / "b/verdict.json").write_text("{")

    compared, different = reproduction.differences(first, second)

    assert "verdict" not in compared
    assert different == [reproduction.Difference("verdict", "", "present", "absent")]


def test_lists_of_other_lengths_differ_as_a_whole_and_others_by_their_entry(tmp_path):
    first, second = candidate(tmp_path / "a"), candidate(tmp_path / "b")
    model = tmp_path / "b/model/model.json"
    change(model, "classes", value=["no", "perhaps"])
    change(model, "numeric", value=["usage", "age"])

    _, different = reproduction.differences(first, second)

    assert [(one.path, one.before, one.after) for one in different] == [
        ("classes.1", "yes", "perhaps"),
        ("numeric", ["usage"], ["usage", "age"]),
    ]


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    """A project with one run that trained a model, as far as its record says."""
    (tmp_path / "project.yaml").write_text(toy.PROJECT)
    for name in ("bundle.zip", "snapshot", "champion", "model"):
        (tmp_path / name).touch()
    folder = tmp_path / ".perennial" / "runs" / "20260101T000000_000000"
    run = runs.Run("20260101T000000_000000", "toy", "training", folder, "2026-01-01T00:00:00+00:00", [], exit_code=0)
    run.outputs["bundle"] = str(tmp_path / "bundle.zip")
    run.artifacts = {
        "ingestion.snapshot": str(tmp_path / "snapshot"),
        "champion.model": str(tmp_path / "champion"),
        "training.model": str(tmp_path / "model"),
    }
    run.commit, run.contents = "4b9d291", {"split": recipe("split").tag(None), "training": "another"}
    run.save()
    return tmp_path


def said(project: Path, *options: str) -> str:
    done = CliRunner().invoke(cli.main, ["reproduce", "2026", "--project", str(project), *options])
    assert done.exit_code == 2, done.output
    return done.output


def test_other_code_is_refused_with_the_commit_that_has_the_runs(project):
    assert (
        "the code or the packages of training are not those of run 20260101T000000_000000 (commit 4b9d291). Check that "
        "commit out, or go on with --with-this-code." in said(project)
    )


def test_a_run_whose_files_are_gone_says_which(project):
    (project / "snapshot").unlink()
    (project / "bundle.zip").unlink()

    assert "are gone (project, snapshot), so it cannot be made again" in said(project)


def test_a_run_that_trained_nothing_is_refused(project):
    path = project / ".perennial/runs/20260101T000000_000000/run.json"
    change(path, "pipeline", value="monitoring")

    assert "of the pipeline 'monitoring' trained no model" in said(project)
