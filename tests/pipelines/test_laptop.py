"""Compiled pipelines run on a laptop as kfp means them, each task in its image's virtualenv, leaving nothing behind."""

import builtins
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from kfp import compiler, dsl
from kfp.dsl import Artifact, Output
from kfp.local import cache, subprocess_task_handler

from components.shared.errors import InputError
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.images import environments
from pipelines.targets.laptop.ahead import InterpretersAhead
from pipelines.targets.laptop.processes import ProcessGroups, task_environment
from pipelines.targets.laptop.runtime import Processes
from pipelines.targets.local import execution
from pipelines.targets.local.limits import Limits


@pytest.fixture(scope="module")
def built() -> dict[str, environments.Environment]:
    """Two images with different locks."""
    return {env.reference: env for env in environments.prepare(["gate", "ingestion"]).values()}


@dsl.component(base_image="perennial/ingestion", install_kfp_package=False)
def where(text: str, place: Output[Artifact]) -> str:
    """Say which interpreter runs the task, and write the text as it came."""
    import os
    import sys
    from pathlib import Path

    Path(place.path).write_text(f"{text}\n{os.environ.get('PYTHONPATH')}\n{os.getcwd()}")
    return sys.executable


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def flag(raised: bool) -> bool:
    """Return the argument, from another image."""
    import sys

    print("flag runs in", sys.executable)
    return raised


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def ingestion(text: str) -> str:
    """Fail, as a step does that meets bad input."""
    from components.shared.errors import DataBlocked

    raise DataBlocked(text)


@dsl.pipeline(name="branches")
def branches(raised: bool, text: str):
    """Both images, and both branches."""
    flagged = flag(raised=raised)
    with dsl.If(flagged.output == True):  # noqa: E712
        where(text=text)
    with dsl.Else():
        where(text="the other branch")


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[tuple[str, int, dict[str, Any]]] = []
        self.hits: list[str] = []

    def started(self, step: str, log: Path) -> None:
        self.began.append(step)

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        self.ended.append((step, exit_code, outputs))

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        self.hits.append(step)


def run(
    pipeline: Any,
    built: dict[str, environments.Environment],
    folder: Path,
    limits: dict[str, Limits] | None = None,
    ahead: int = 2,
    **arguments: Any,
) -> Watcher:
    folder.mkdir(exist_ok=True, parents=True)
    compiler.Compiler().compile(pipeline, str(folder / "p.yaml"))
    import yaml

    references = {env.name: ref for ref, env in built.items()}
    ir = compilation.with_references(yaml.safe_load((folder / "p.yaml").read_text()), references)
    watcher = Watcher()
    with ProcessGroups() as groups, InterpretersAhead(groups, ahead) as interpreters:
        tasks = Processes({env.name: env for env in built.values()}, groups, limits or {}, interpreters)
        execution.execute(ir, arguments, references, tasks, watcher, folder, folder.parent / "cache")
    return watcher


def test_each_task_runs_in_the_virtualenv_of_its_image(built, tmp_path):
    watcher = run(branches, built, tmp_path / "run", raised=True, text="x")

    by_name = {env.name: env for env in built.values()}
    outputs = {step: out for step, _, out in watcher.ended}
    assert str(by_name["ingestion"].python.parent) in outputs["ingestion"]["Output"]
    assert str(by_name["gate"].python.parent) in (tmp_path / "run/logs/gate.log").read_text()
    assert by_name["gate"].python != by_name["ingestion"].python


@pytest.mark.parametrize("raised", [True, False])
def test_exactly_one_branch_of_a_condition_runs(built, tmp_path, raised):
    watcher = run(branches, built, tmp_path / "run", raised=raised, text="chosen")

    written = [Path(out["place"]).read_text() for step, _, out in watcher.ended if step == "ingestion"]
    assert len(written) == 1
    assert written[0].startswith("chosen" if raised else "the other branch")


def test_a_value_that_speaks_of_python3_reaches_the_task_unchanged(built, tmp_path):
    text = "python3 -m pip install /usr/bin/python3 'quoted' $HOME `x`"
    watcher = run(branches, built, tmp_path / "run", raised=True, text=text)

    written = Path(dict((step, out) for step, _, out in watcher.ended)["ingestion"]["place"]).read_text()
    assert written.splitlines()[0] == text


def test_a_task_sees_its_own_source_and_none_of_ours(built, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    watcher = run(branches, built, tmp_path / "run", raised=True, text="x")

    lines = Path(dict((s, o) for s, _, o in watcher.ended)["ingestion"]["place"]).read_text().splitlines()
    assert lines[1] == str(next(env.source for env in built.values() if env.name == "ingestion"))
    assert "/run/scratch/" in lines[2]


def test_a_second_run_takes_unchanged_tasks_from_the_cache_and_says_so(built, tmp_path):
    first = run(branches, built, tmp_path / "one", raised=True, text="x")
    second = run(branches, built, tmp_path / "two", raised=True, text="x")
    third = run(branches, built, tmp_path / "three", raised=True, text="changed")

    assert first.hits == []
    assert second.hits == ["gate", "ingestion"] and second.began == []
    assert third.hits == ["gate"] and third.began == ["ingestion"]


def test_what_kfp_local_swaps_is_put_back(built, tmp_path):
    before = (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level)
    seam = (subprocess_task_handler.SubprocessTaskHandler, cache.LocalCache)
    run(branches, built, tmp_path / "run", raised=True, text="x")

    assert (builtins.print, logging.getLogger().handlers[:], logging.getLogger().level) == before
    assert (subprocess_task_handler.SubprocessTaskHandler, cache.LocalCache) == seam
    assert not (tmp_path / "run/scratch").exists()


def test_a_failed_task_tells_its_reason_through_its_log(built, tmp_path):
    @dsl.pipeline(name="broken")
    def broken():
        ingestion(text="orders has 3 anomalies.")

    watcher = run(broken, built, tmp_path / "run")
    step, code, outputs = watcher.ended[0]

    assert code != 0 and outputs == {}
    assert runs.cause(tmp_path / f"run/logs/{step}.log", code) == (runs.BLOCKED, "orders has 3 anomalies.")


def test_a_killed_task_is_said_to_have_been_killed(tmp_path):
    (tmp_path / "step.log").write_text("loading\n")

    code, sentence = runs.cause(tmp_path / "step.log", -signal.SIGKILL)

    assert code == runs.FAILED and "out of memory" in sentence


SLEEPER = "import subprocess, sys, time; subprocess.Popen(['sleep', '600']); print('up', flush=True); time.sleep(600)"


def test_sigkill_of_the_command_leaves_no_process(tmp_path):
    script = textwrap.dedent(f"""
        import os, sys
        from pathlib import Path
        from pipelines.targets.laptop.processes import ProcessGroups
        with ProcessGroups() as groups, open({str(tmp_path / "log")!r}, "wb") as output:
            process = groups.start([sys.executable, "-c", {SLEEPER!r}], os.environ, Path("/"), output)
            print(process.pid, flush=True)
            process.wait()
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout
        group = int(command.stdout.readline())
        wait_until(lambda: len(members(group)) == 2)
        command.kill()

    wait_until(lambda: not members(group))


def test_leaving_the_context_ends_what_a_task_left_running(tmp_path):
    with ProcessGroups() as groups, (tmp_path / "log").open("wb") as output:
        code = groups.run(["sh", "-c", "sleep 600 & echo $$; exit 3"], os.environ, tmp_path, output)

    assert code == 3
    assert not members(int((tmp_path / "log").read_text()))


def test_a_task_environment_drops_what_would_let_the_commands_packages_in():
    env = task_environment(
        Path("/v/bin/python3"), Path("/s"), Path("/t"), {"PYTHONHOME": "/x", "PATH": "/bin", "A": "1"}
    )

    assert "PYTHONHOME" not in env
    assert env["PATH"] == "/v/bin:/bin" and env["A"] == "1" and env["PYTHONSAFEPATH"] == "1"


def test_only_the_step_that_signs_sees_the_signing_key(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_SIGNING_KEY", "-----BEGIN PRIVATE KEY-----")
    seen = {}
    for step in ("ingestion", "registration"):
        environment = environments.Environment(step, "", Path(sys.executable), tmp_path)
        with ProcessGroups() as groups, (tmp_path / step).open("wb") as output:
            processes = Processes({step: environment}, groups, {}, InterpretersAhead(groups))
            assert processes.run(step, ["env"], {}, tmp_path, output) == 0
        seen[step] = "PERENNIAL_SIGNING_KEY" in (tmp_path / step).read_text()

    assert seen == {"ingestion": False, "registration": True}


def test_a_step_that_hangs_is_ended_at_its_timeout_and_says_so(built, tmp_path):
    @dsl.component(base_image="perennial/gate", install_kfp_package=False)
    def hanging() -> str:
        import time

        time.sleep(600)
        return "never"

    @dsl.pipeline(name="stuck")
    def stuck():
        hanging()

    watcher = run(stuck, built, tmp_path / "run", limits={"gate": Limits(timeout_s=2)})
    step, code, _ = watcher.ended[0]

    assert (step, code) == ("gate", 124)
    assert runs.cause(tmp_path / "run/logs/gate.log", code)[1].startswith("it did not end within 2 s")


def members(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def wait_until(holds: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 28] No space left on device: '/x'",
        "sqlite3.OperationalError: database or disk is full",
        "duckdb.IOException: IO Error: Could not write file: No space left on device",
    ],
)
def test_a_full_disk_is_a_sentence(tmp_path, line):
    (tmp_path / "step.log").write_text(f"Traceback (most recent call last):\n  File x\n{line}\n")

    code, sentence = runs.cause(tmp_path / "step.log", 1)

    assert code == runs.FAILED and sentence.startswith("the disk is full")


def test_the_sentence_of_an_error_of_a_steps_own_is_the_reason_and_not_the_error_that_caused_it(tmp_path):
    (tmp_path / "step.log").write_text(
        "kubernetes.client.exceptions.ApiException: (500)\nReason: Internal Server Error\n"
        "The above exception was the direct cause of the following exception:\nTraceback (most recent call last):\n"
        "components.shared.release.kserve.cluster.ApiRefused: the cluster refuses it (500): the webhook is away.\n"
    )

    assert runs.cause(tmp_path / "step.log", 1) == (runs.FAILED, "the cluster refuses it (500): the webhook is away.")


def test_a_platform_without_wheels_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")

    with pytest.raises(
        InputError, match=r"have wheels for Linux x86-64 only, this is Linux aarch64.*target docker.*perennial submit"
    ):
        environments.check_platform()
