"""The verbs of a cluster from the command line, on a small project: what they print, leave and end with."""

import json
import os
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from pipelines.command import cli
from pipelines.targets.remote import submission
from tests.pipelines.kfp.place import ENDPOINT, forget

PROJECT = """
name: small
task: binary
entity: id
event_time: at
sources: {rows: {path: rows.csv}}
label: {source: rows, column: y}
features: {service: small_v1, columns: {x: {type: numeric}}}
"""
REVISION = "0123456789ab"
RUN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture
def perennial(place, s3, tmp_path, monkeypatch):
    """The command, in a small project, with a bucket."""
    monkeypatch.setattr(submission, "revision", lambda: REVISION)
    root = tmp_path / "project"
    root.mkdir()
    (root / "project.yaml").write_text(PROJECT)
    (root / "rows.csv").write_text("id,at,x,y\n1,2024-01-01,0.5,0\n")
    if ENDPOINT:
        forget(ENDPOINT, "small-training")
    else:
        for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "ENDPOINT_URL": s3}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket="mlpipeline")
    storage = f"storage.endpoint_url={os.environ['AWS_ENDPOINT_URL']}"

    def run(*arguments: str, code: int = 0) -> str:
        target = ("--target", "kfp", "--set", f"host={place.host}", "--set", storage)
        options = ("--project", str(root), *target)
        done: Result = CliRunner().invoke(cli.main, [*arguments, *options])
        assert done.exit_code == code, done.output
        return done.output

    return run


def records(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in (tmp_path / "project").glob(".perennial/runs/*/run.json")]


def test_upload_says_what_it_uploaded_and_that_it_was_there(perennial):
    assert f"uploaded small-training version {REVISION} (" in perennial("upload")
    assert f"there already: small-training version {REVISION} (" in perennial("upload")
    assert "uploaded small-training version release-7 (" in perennial("upload", "--revision", "release-7")


def test_a_submitted_run_is_recorded_listed_shown_and_ended(perennial, tmp_path):
    said = perennial("submit", "--no-wait")

    run_id = RUN.search(said)[0]
    assert f"follow it with 'perennial logs --target kfp {run_id}'" in said
    (record,) = records(tmp_path)
    assert (record["remote"], record["state"]) == (run_id, "running")
    assert run_id in perennial("runs")
    assert re.search(r"^rejection +pending$", perennial("logs", record["id"]), re.MULTILINE)
    assert "the step gate has no log: it is pending" in perennial("logs", run_id, "gate", code=2)
    assert "there is no step 'gat'; expected one of [" in perennial("logs", run_id, "gat", code=2)
    assert f"ended run {run_id}" in perennial("runs", "--end", run_id)


def test_a_schedule_from_the_command_line(perennial):
    made = perennial("schedule", "create", "--cron", "0 30 6 * * *", "--name", "morning")
    assert f"scheduled morning: 0 30 6 * * * (UTC), version {REVISION}" in made
    assert re.search(r"morning +0 30 6 \* \* \* +on ", perennial("schedule", "list"))
    assert "paused morning" in perennial("schedule", "pause", "morning")
    assert re.search(r"morning +0 30 6 \* \* \* +paused ", perennial("schedule", "list"))
    assert "resumed morning" in perennial("schedule", "resume", "morning")
    assert "deleted morning" in perennial("schedule", "delete", "morning")
    assert "the schedule 'morning' does not exist; expected one of []" in perennial(
        "schedule", "pause", "morning", code=2
    )


def test_a_mistake_is_found_before_anything_is_sent(tmp_path):
    (tmp_path / "project.yaml").write_text(PROJECT.replace("path: rows.csv", "database: 'sqlite:///a.db', query: a"))
    nobody = ("--set", "host=http://127.0.0.1:9")

    wrong = CliRunner().invoke(cli.main, ["schedule", "create", "--cron", "daily", "--project", str(tmp_path), *nobody])
    assert (wrong.exit_code, "expected six" in wrong.output) == (2, True)
    laptop = CliRunner().invoke(cli.main, ["submit", "--target", "laptop", "--project", str(tmp_path)])
    assert (laptop.exit_code, "use 'perennial run' there" in laptop.output) == (2, True)
    away = CliRunner().invoke(cli.main, ["submit", "--project", str(tmp_path), *nobody])
    assert (away.exit_code, "no server answers at http://127.0.0.1:9" in away.output) == (5, True)


def test_monitoring_is_refused_before_anything_is_uploaded(perennial):
    nowhere = ("--set", "services.inference_log=/srv/log")

    assert (
        "services.inference_log of the target is '/srv/log', which no step reaches; expected a folder in"
        in perennial("submit", "--pipeline", "monitoring", *nowhere, code=2)
    )


def test_a_database_file_on_this_machine_is_no_source_for_a_pod(perennial, tmp_path):
    text = PROJECT.replace("path: rows.csv", "database: 'sqlite:///a.db', query: SELECT 1")
    (tmp_path / "project" / "project.yaml").write_text(text)

    assert "the sources ['rows'] are database files on this machine, which no step reaches" in perennial(
        "submit", code=2
    )


def test_a_strategy_that_a_cluster_cannot_watch_is_refused_before_anything_is_trained(perennial, tmp_path):
    def refused(release: str) -> str:
        (tmp_path / "project" / "project.yaml").write_text(f"{PROJECT}\nrelease: {release}\n")
        return perennial("submit", code=2)

    assert "a gateway splits requests by chance, not by entity, and pairs no answers" in refused("{strategy: shadow}")
    too_short = refused("{strategy: canary, deadline_s: 3600}\nresources: {steps: {deployment: {timeout_s: 7200}}}")
    assert "is ended after its timeout_s 7200, but the release that it watches may take 12300 s" in too_short


def test_the_release_verbs_name_the_address_that_they_need(tmp_path):
    (tmp_path / "project.yaml").write_text(PROJECT)
    options = ("--project", str(tmp_path), "--target", "kfp", "--set", "services.endpoint=/srv/endpoint")

    said = CliRunner().invoke(cli.main, ["release", "status", *options])

    assert said.exit_code == 2
    assert "services.endpoint of the target is '/srv/endpoint', which this command does not reach" in said.output
