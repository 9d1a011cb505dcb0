"""The shipped example goes from nothing to an answer in one command, and a later release takes over while it serves."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from components.shared.files import read_json
from components.shared.release import endpoint_folder
from pipelines.images.environments import ROOT
from tests.end_to_end.command import PERENNIAL, edit, perennial, records

OPEN_GATE = {
    "champion_margin": None,
    "probability_margin": None,
    "decision_margin": None,
    "worse_than_plain": "warn",
}
"""The second model is released however it compares with the first."""
INTERVALS = ((), ("--interval", "0.5"), ("--interval", "0.999"))


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("example")
    shutil.copy(ROOT / "project.yaml", folder)
    shutil.copytree(ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    return folder, perennial("run", "--simulate", "--ask", cwd=folder).stdout


def test_it_is_released_and_answers_a_real_question(example):
    folder, said = example
    [record] = records(folder)
    measured = read_json(Path(record["artifacts"]["evaluation.report"]) / "evaluation.json")

    assert "released version 1" in said and '"model_version": "1"' in said
    assert {s["name"]: s["state"] for s in record["steps"]}.items() >= {
        "deployment": "done",
        "rejection": "skipped",
    }.items()
    assert measured["metrics"]["auc"]["low"] > 0.7 and measured["value"]["total"] > 0


def test_its_sets_of_classes_are_measured_and_answered_on_request(example):
    folder, said = example
    answers = [json.loads(perennial("predict", "--sample", *asked, cwd=folder).stdout) for asked in INTERVALS]
    [plain], [medium], [large] = (answer["predictions"] for answer in answers)
    refused = perennial("predict", "--sample", "--interval", "1", cwd=folder, expect=2)

    assert "90 % sets held " in said
    assert "set" not in plain and plain["decision"] in large["set"]
    assert 1 <= len(medium["set"]) <= len(large["set"])
    assert "'1' is not a share between 0 and 1, such as 0.9" in refused.stderr


def test_the_run_is_reproduced_to_the_last_digit_and_an_altered_record_shows(example):
    folder, _ = example
    [record] = records(folder)

    said = perennial("reproduce", record["id"][:15], cwd=folder).stdout
    assert "every number in training set, split, best, trials, model, training, evaluation, verdict is the same" in said

    path = Path(record["artifacts"]["evaluation.report"]) / "evaluation.json"
    whole = path.read_text()
    document = json.loads(whole)
    document["metrics"]["auc"]["value"] += 1e-12
    path.chmod(0o644)
    path.write_text(json.dumps(document))
    again = perennial("reproduce", record["id"], cwd=folder, expect=3).stdout
    path.write_text(whole)
    assert "1 value differs" in again and "metrics.auc.value" in again


def test_a_server_that_is_killed_is_started_again_at_the_same_address(example):
    folder, _ = example
    command = [str(PERENNIAL), "serve", "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        before = [served.stdout.readline() for _ in range(2)]
        first = endpoint_folder.server(folder / ".perennial" / "endpoint")
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        after = [served.stdout.readline() for _ in range(3)]
        answer = perennial("predict", "--sample", cwd=folder).stdout
        served.terminate()

    assert "the server was killed (SIGKILL) and is started again" in after[0]
    assert after[1:] == before, "it listens where its clients expect it"
    assert '"model_version": "1"' in answer


def test_a_release_takes_over_in_an_endpoint_that_serves(example):
    folder, _ = example
    command = [str(PERENNIAL), "serve", "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and "serving release 1 of churn" in server.stdout.readline()
        edit(folder, tuning={"trials": 0}, training={"learning_rate": 0.002}, gate=OPEN_GATE)
        perennial("run", cwd=folder)
        answer = perennial("predict", "--sample", cwd=folder).stdout
        server.terminate()
        said = server.stdout.read()

    assert "release 2 of churn answers now, instead of release 1" in said
    assert '"model_version": "2"' in answer
    assert server.returncode == 0
