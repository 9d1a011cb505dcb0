"""The record of a run survives older versions of the project and half-written files."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from components.shared.errors import InputError
from pipelines import runs

OLD = {
    "id": "20260101T000000_000001", "project": "churn", "folder": "/gone", "started": "2026-01-01T00:00:00+00:00",
    "steps": [{"name": "gate", "state": "done", "seconds": 1.5, "log": None, "error": None, "cached": False}],
    "exit_code": 0, "state": "finished", "reason": None, "outputs": {"gate.Output": True}, "artifacts": {},
}  # fmt: skip


def test_a_record_from_before_records_had_versions_is_of_the_training_pipeline(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(OLD))

    run = runs.load(tmp_path / "run.json")

    assert (run.pipeline, run.state, run.remote, run.steps[0].seconds) == ("training", "finished", None, 1.5)
    assert run.folder == tmp_path


def test_a_record_reads_back_as_it_was_written(tmp_path):
    run = runs.new("churn", "materialization", ["ingestion", "materialization"], tmp_path, datetime.now(UTC))
    run.outputs["x"] = 1
    runs.end(run, runs.OK, None)

    assert runs.load(run.folder / "run.json") == run


def test_a_truncated_record_is_one_sentence_and_hides_no_other(tmp_path):
    older, newer = (runs.new("churn", "training", ["gate"], tmp_path, datetime(2026, 1, n, tzinfo=UTC)) for n in (1, 2))
    text = (newer.folder / "run.json").read_text()
    (newer.folder / "run.json").write_text(text[: len(text) // 2])

    with pytest.raises(InputError, match=rf"the record of the run {newer.id} cannot be read \(.*\. Delete ") as caught:
        runs.load(newer.folder / "run.json")
    assert "\n" not in str(caught.value)
    unreadable: list[InputError] = []
    assert [run.id for run in runs.records(tmp_path, unreadable.append)] == [older.id]
    assert len(unreadable) == 1
    assert runs.settle(tmp_path) == [older.id]


# A project that is moved or copied.


def finished(project: Path) -> runs.Run:
    run = runs.new("churn", "training", ["training"], project / ".perennial" / "runs", datetime(2026, 1, 1, tzinfo=UTC))
    model = run.folder / "artifacts" / "model"
    model.mkdir(parents=True)
    run.artifacts = {"training.model": str(model), "elsewhere.rows": "/data/rows"}
    run.outputs = {"bundle": str(project / ".perennial" / "bundles" / "a.zip"), "gate.reason": "/not/a/path"}
    run.step("training").log = str(run.folder / "logs" / "training.log")
    runs.end(run, runs.OK, None)
    return run


def test_a_record_holds_no_path_of_the_project_and_reads_back_from_where_it_is(tmp_path):
    run = finished(tmp_path / "a")

    assert str(tmp_path) not in (run.folder / "run.json").read_text()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    [copied] = runs.records(tmp_path / "b" / ".perennial" / "runs")
    home = tmp_path / "b" / ".perennial"
    assert copied.artifacts == {
        "training.model": str(home / "runs" / run.id / "artifacts" / "model"),
        "elsewhere.rows": "/data/rows",
    }
    assert copied.outputs == {"bundle": str(home / "bundles" / "a.zip"), "gate.reason": "/not/a/path"}
    assert copied.step("training").log == str(home / "runs" / run.id / "logs" / "training.log")
    assert runs.latest_with(home / "runs", "training.model") == copied


def test_a_record_from_when_all_paths_were_absolute_follows_a_move(tmp_path):
    run = finished(tmp_path / "a")
    (run.folder / "run.json").write_text(json.dumps(run.as_dict() | {"schema_version": 1}))
    (tmp_path / "a").rename(tmp_path / "b")

    [moved] = runs.records(tmp_path / "b" / ".perennial" / "runs")

    assert moved.artifacts["training.model"] == str(moved.folder / "artifacts" / "model")
    assert moved.outputs["bundle"] == str(tmp_path / "b" / ".perennial" / "bundles" / "a.zip")
