"""In Docker the example gives the laptop's weights and metrics, and a run that is cut short leaves nothing behind."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from components.shared.files import read_json
from components.shared.release import endpoint_folder, routing
from components.shared.release.file_journal import FileJournalStore
from pipelines.images import engine
from pipelines.images.environments import ROOT
from pipelines.targets.docker import settings
from pipelines.targets.opening import open_backend
from tests.end_to_end.command import PERENNIAL, edit, perennial, records
from tests.engine import base, client_or_skip

DOCKER = ("--target", "docker", "--set", f"images.base={base()}")
# What a clock or the operating system says, not the model.
MEASURED = {"latency_ms_p50", "latency_ms_p99", "memory_mib", "duration_s"}


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, small, after a run on the laptop."""
    client_or_skip()
    folder = tmp_path_factory.mktemp("laptop")
    shutil.copy(ROOT / "project.yaml", folder)
    shutil.copytree(ROOT / "feature_repo", folder / "feature_repo", ignore=shutil.ignore_patterns("__pycache__"))
    perennial("simulate", "--customers", 1500, "--months", 8, cwd=folder)
    open_gate = {
        "beat_rule": False,
        "plain_margin": None,
        "champion_margin": None,
        "probability_margin": None,
        "decision_margin": None,
        "value_positive": False,
    }
    edit(folder, tuning={"trials": 2}, gate=open_gate)
    shutil.copytree(folder, folder.with_name("docker"))
    perennial("run", "--no-cache", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def docker(laptop: Path) -> Path:
    """The same tables and project file after a run in Docker; its cache was empty."""
    folder = laptop.with_name("docker")
    said = perennial("run", "--ask", *DOCKER, cwd=folder).stdout
    assert "released version 1" in said and '"model_version": "1"' in said
    return folder


def artifact(project: Path, name: str) -> Path:
    return Path(records(project)[0]["artifacts"][name])


def without_measured(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_measured(inner) for key, inner in value.items() if key not in MEASURED}
    return [without_measured(inner) for inner in value] if isinstance(value, list) else value


def left(project: Path) -> list[dict[str, Any]]:
    """Return the containers of a project, running or not."""
    label = f"{settings.STATE}={project / '.perennial'}"
    found: list[dict[str, Any]] = engine.connect().api.containers(all=True, filters={"label": label})
    return found


def test_the_weights_are_the_laptops_byte_for_byte(laptop, docker):
    ours, theirs = (artifact(project, "training.model") for project in (docker, laptop))

    for name in ("model.onnx", "model.json", "sample.json"):
        digests = {hashlib.sha256((package / name).read_bytes()).hexdigest() for package in (ours, theirs)}
        assert len(digests) == 1, name
    assert without_measured(read_json(ours / "training.json")) == without_measured(read_json(theirs / "training.json"))


def test_the_metrics_are_the_laptops(laptop, docker):
    ours, theirs = (
        read_json(artifact(project, "evaluation.report") / "evaluation.json") for project in (docker, laptop)
    )

    assert without_measured(ours) == without_measured(theirs)
    assert 0 < ours["metrics"]["auc"]["value"] < 1


def test_the_record_tells_the_same_story(laptop, docker):
    [ours], [theirs] = records(docker), records(laptop)

    assert [(s["name"], s["state"]) for s in ours["steps"]] == [(s["name"], s["state"]) for s in theirs["steps"]]
    assert ours["outputs"].keys() == theirs["outputs"].keys() and ours["artifacts"].keys() == theirs["artifacts"].keys()
    assert (Path(ours["folder"]) / "report.html").exists()
    assert all(Path(step["log"]).exists() for step in ours["steps"] if step["state"] == "done")


def test_every_file_of_the_run_belongs_to_the_caller(docker):
    others = [
        path for path in docker.rglob("*") if (path.lstat().st_uid, path.lstat().st_gid) != (os.getuid(), os.getgid())
    ]

    assert others == []


def test_no_container_is_left(docker):
    assert left(docker) == []
    assert engine.remove(engine.connect(), f"{settings.ENDPOINT}={docker / '.perennial/endpoint'}") == 0


def test_a_second_run_takes_from_the_cache_what_did_not_change_and_releases_nothing(docker):
    said = perennial("run", *DOCKER, cwd=docker).stdout
    cached = {step["name"] for step in records(docker)[-1]["steps"] if step["cached"]}

    assert "nothing to do" in said
    assert cached >= {"ingestion", "feature_retrieval", "split", "tuning", "training"}


def test_a_run_on_the_laptop_releases_into_a_server_in_a_container_and_stops_it_not(docker):
    command = [str(PERENNIAL), "serve", *DOCKER, "--port", "0", "--grpc-port", "0"]
    with subprocess.Popen(command, cwd=docker, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout and "serving release 1 of churn" in serving.stdout.readline()
        server = endpoint_folder.server(docker / ".perennial/endpoint")
        edit(docker, training={"learning_rate": 0.002}, tuning={"trials": 0})
        perennial("run", cwd=docker)
        answer = json.loads(perennial("predict", "--sample", cwd=docker).stdout)
        assert endpoint_folder.server(docker / ".perennial/endpoint") == server
        serving.terminate()
        serving.wait(60)

    assert answer["model_version"] == "2"
    assert serving.returncode == 0
    assert endpoint_folder.server(docker / ".perennial/endpoint") is None


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"memory_limit": "48Mi"}, "training: it ran out of memory, it may use 48 MiB"),
        ({"timeout_s": 1}, "training: it did not end within 1 s"),
    ],
    ids=["memory", "time"],
)
def test_a_step_beyond_its_limits_ends_the_run_with_its_sentence_and_the_champion_answers(docker, limit, sentence):
    before = routing.answering(docker / ".perennial/endpoint")
    edit(docker, resources={"steps": {"training": limit}})
    done = perennial("run", "--no-cache", *DOCKER, cwd=docker, expect=5)
    edit(docker, resources={"steps": {}})

    assert sentence in done.stdout and "training.log" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert routing.answering(docker / ".perennial/endpoint") == before
    assert before and f'"model_version": "{before}"' in perennial("predict", "--sample", cwd=docker).stdout
    assert left(docker) == []


@pytest.mark.parametrize(
    ("number", "step", "code"),
    [
        (signal.SIGKILL, "training", -9),
        (signal.SIGKILL, "registration", -9),
        (signal.SIGKILL, "deployment", -9),
        (signal.SIGTERM, "evaluation", 130),
        (signal.SIGINT, "champion", 130),
    ],
)
def test_a_command_that_is_ended_leaves_no_container_and_the_champion_answers(docker, number, step, code):
    place = open_backend(project=docker).state
    before = routing.answering(place.endpoint)
    edit(docker, training={"learning_rate": 0.0015})
    process = subprocess.Popen(
        [str(PERENNIAL), "run", "--no-cache", *DOCKER],
        cwd=docker,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_until(lambda: [c for c in left(docker) if c["Labels"].get(settings.STEP) == step], process)
    process.send_signal(number)

    assert process.wait(60) == code
    wait_until(lambda: not left(docker))
    assert f'"model_version": "{before}"' in perennial("predict", "--sample", cwd=docker).stdout
    assert FileJournalStore(place.endpoint).read() is None


def test_after_all_that_the_next_run_works(docker):
    perennial("run", *DOCKER, cwd=docker)

    assert {record["state"] for record in records(docker)} <= {"finished", "failed", "interrupted"}
    assert records(docker)[-1]["state"] == "finished"


def test_without_an_engine_nothing_begins(laptop):
    before = records(laptop)
    done = perennial("run", *DOCKER, cwd=laptop, expect=5, DOCKER_HOST="unix:///nowhere/docker.sock")

    assert done.stderr.startswith("perennial: no Docker engine runs here (there is no /nowhere/docker.sock)")
    assert records(laptop) == before


def test_without_the_base_image_nothing_begins(laptop):
    """The reference covers the base's name, so no image of another base stands in."""
    before = records(laptop)
    nowhere = "127.0.0.1:1/none:0"
    done = perennial("run", "--target", "docker", "--set", f"images.base={nowhere}", cwd=laptop, expect=None)

    assert done.returncode in (2, 5)
    assert nowhere in done.stderr and "Traceback" not in done.stderr and done.stderr.count("\n") == 1
    assert records(laptop) == before


def wait_until(holds: Any, process: "subprocess.Popen[bytes] | None" = None, timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert process is None or process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)
