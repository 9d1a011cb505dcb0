"""A run killed at any boundary leaves registry and endpoint as they were, no process, and the next run works."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.shared import polling, registry
from components.shared.release import routing
from pipelines import runs
from pipelines.definitions import catalog
from pipelines.project import project_file
from pipelines.targets.opening import open_backend
from tests.end_to_end.command import PERENNIAL, perennial, records, write_table


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has never run."""
    folder = tmp_path_factory.mktemp("killed") / "fresh"
    folder.mkdir()
    write_table(folder / "vans.csv", rows=500)
    perennial("init", "vans.csv", "--label", "Churn", "--entity", "customerID", cwd=folder)
    file = folder / "project.yaml"
    content = yaml.safe_load(file.read_text())
    # What is trained does not matter here, only that something is.
    content["tuning"] = {"trials": 0}
    content["gate"] = {
        "beat_rule": False,
        "plain_margin": None,
        "champion_margin": None,
        "probability_margin": None,
        "decision_margin": None,
        "min_test_rows": 1,
    }
    file.write_text(yaml.safe_dump(content, allow_unicode=True))
    return folder


@pytest.fixture(scope="module")
def project(fresh: Path) -> Path:
    """A project whose version 1 is the champion; the further runs have another seed, so they make another candidate."""
    folder = shutil.copytree(fresh, fresh.with_name("released"))
    perennial("run", cwd=folder)
    assert outside(folder) == ("1", "1")
    return folder


OTHER_SEED = "--seed=8"
STEPS = [step for step in catalog.entry("training").steps if step != "rejection"]


@pytest.mark.parametrize("step", ["champion", "registration", "deployment"])
def test_sigkill_before_a_first_release_leaves_none(fresh, step):
    process, run = started(fresh)
    wait_until(process, lambda: began(run(), step))
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()

    gone(family)
    assert outside(fresh) == (None, None)


@pytest.mark.parametrize("step", STEPS)
def test_sigkill_of_the_command_when_a_step_has_started(project, step):
    before = outside(project)
    process, run = started(project, OTHER_SEED)
    wait_until(process, lambda: began(run(), step))
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()

    gone(family)
    assert outside(project) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupt_ends_every_process_and_the_record_says_so(project, number, code):
    before = outside(project)
    process, run = started(project, "--no-cache", OTHER_SEED)
    wait_until(process, lambda: began(run(), "data_validation"))
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)

    assert process.wait(60) == code
    gone(family)
    assert outside(project) == before
    assert records(project)[-1]["state"] == "interrupted"


@pytest.mark.parametrize("step", ["champion", "data_validation", "evaluation", "registration", "deployment"])
def test_sigkill_of_a_task_is_a_failed_step_with_its_log(project, step):
    before = outside(project)
    process, _ = started(project, "--no-cache", OTHER_SEED)
    # An interpreter that dies before it has its task is replaced, so that one kill may not be enough.
    assert polling.within(lambda: kill(task_processes(process.pid, step)) and process.poll() is not None, 120, 0.01)
    said = process.communicate(timeout=60)[0]

    assert process.returncode == 5, said
    assert f"{step}: it was killed" in said and f"{step}.log" in said
    assert outside(project) == before


def test_after_all_that_the_next_run_releases(project, fresh):
    perennial("run", cwd=fresh)
    perennial("run", OTHER_SEED, cwd=project)

    assert outside(fresh) == ("1", "1")
    champion, active = outside(project)
    assert champion == active and int(champion) > 1
    for folder in (fresh, project):
        assert {record["state"] for record in records(folder)} <= {"interrupted", "failed", "finished"}


def outside(project: Path) -> tuple[str | None, str | None]:
    """Return the champion and the active release, after the recovery that every command begins with.

    The command itself has to agree: the release that it asks answers with its version, and without one it says so.
    """
    answered = perennial("predict", "--sample", cwd=project, expect=None)
    champion, active = _stored(project)
    if active is None:
        assert answered.returncode == runs.BAD_INPUT, answered.stderr
    else:
        assert answered.returncode == 0, answered.stderr
        assert json.loads(answered.stdout[answered.stdout.index("{") :])["model_version"] == active
    return champion, active


def _stored(project: Path) -> tuple[str | None, str | None]:
    place = open_backend(project=project).state
    name = project_file.read(place.project_file).name
    champion = None
    if (place.folder / "mlflow.db").exists():
        champion = registry.champion(registry.open(place.registry_uri), name)
    return champion, routing.answering(place.endpoint)


def started(project: Path, *options: str) -> tuple[subprocess.Popen[str], Callable[[], dict[str, Any]]]:
    known = {record["id"] for record in records(project)}
    process = subprocess.Popen(
        [str(PERENNIAL), "run", *options],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # What a shell without job control starts in the background inherits that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )

    def run() -> dict[str, Any]:
        return next((record for record in records(project) if record["id"] not in known), {"steps": []})

    return process, run


def task_processes(command: int, step: str) -> list[int]:
    """Find the interpreters (not the shell around one) that run a step, or wait to do so."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(command).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                line = child.cmdline()
                is_task = "kfp.dsl.executor_main" in line and line[-1] == step
                found += [child.pid] if is_task or f"components.{step}.logic" in line else []
    return found


def kill(pids: list[int]) -> bool:
    """Kill processes; return True, also where none is left."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return True


def began(record: dict[str, Any], step: str) -> bool:
    return any(s["name"] == step and s["state"] != "pending" for s in record["steps"])


def wait_until(process: subprocess.Popen[str], holds: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert process.poll() is None, f"the run ended too early: {process.stdout and process.stdout.read()}"
        assert time.monotonic() < deadline, "the step did not start in time"
        time.sleep(0.01)


def gone(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=20)
    assert [process.cmdline() for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
