"""A finished run says the same on every target: a record without outputs is read from what was registered."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from components.shared.documents.release import RegisteredVersion
from pipelines import runs
from pipelines.command.verbs.submit import show_end
from pipelines.definitions import closing
from tests import documents


def registered(folder: Path, *, unchanged: bool) -> runs.Run:
    run = runs.new("churn", "training", ["registration", "deployment"], folder / "runs", datetime.now(UTC))
    RegisteredVersion(name="churn", version="3", storage_uri="s3://models/3", unchanged=unchanged).write(
        folder / "release"
    )
    run.artifacts["registration.release"] = str(folder / "release")
    return run


@pytest.mark.parametrize("outputs", [{}, {"deployment.Output": "unchanged"}], ids=["cluster", "laptop"])
def test_an_unchanged_version_is_nothing_to_do(tmp_path, outputs):
    run = registered(tmp_path, unchanged=True)
    run.outputs |= outputs

    assert closing.released(run) == ("nothing to do: the candidate is version 3, which answers already.",)


@pytest.mark.parametrize("outputs", [{}, {"deployment.Output": "released"}], ids=["cluster", "laptop"])
def test_a_new_version_is_released(tmp_path, outputs):
    run = registered(tmp_path, unchanged=False)
    run.outputs |= outputs

    assert closing.released(run) == ("released version 3",)


def test_a_run_of_the_skew_audit_says_what_differs(tmp_path):
    run = runs.new("churn", "skew-audit", ["skew_audit"], tmp_path / "runs", datetime.now(UTC))
    assert closing.compared(run) == ("finished",)

    documents.skew_report().write(tmp_path / "report")
    run.artifacts["skew_audit.report"] = str(tmp_path / "report")
    assert closing.compared(run)[0] == "90 rows compared in 1 feature: 7 mismatches in 'usage', and 2 stale values"


def test_a_run_of_tfx_says_what_was_measured_and_what_its_validator_found(tmp_path):
    run = runs.new("churn", "tfx-training", ["tfx_training"], tmp_path / "runs", datetime.now(UTC))
    assert closing.trained_by_tfx(run) == ("finished",)

    documents.tfx_evaluation().write(tmp_path / "model")
    run.artifacts["tfx_training.model"] = str(tmp_path / "model")
    assert closing.trained_by_tfx(run) == (
        "TFX blessed the model: auc 0.7, example_count 300",
        "ExampleValidator: train: plan: unexpected values",
        f"model   {tmp_path}/model/saved_model",
    )


def test_the_command_that_shows_more_asks_for_no_log_that_is_not_there(tmp_path, capsys):
    run = registered(tmp_path, unchanged=False)
    run.remote = "1234"
    run.step("registration").error = reason = "the image 'x' can't be pulled."
    runs.end(run, runs.FAILED, reason)

    show_end(run, Console(width=200), "kfp")
    run.step("registration").log = "there"
    show_end(run, Console(width=200), "production")

    printed = capsys.readouterr().out
    assert "perennial logs --target kfp 1234\n" in printed
    assert "perennial logs --target production 1234 registration\n" in printed
