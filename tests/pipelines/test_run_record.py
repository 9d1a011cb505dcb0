"""The record of a run survives older versions of the project and half-written files."""

import json
from datetime import UTC, datetime

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
