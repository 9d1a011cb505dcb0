"""An interpreter that waits for its task saves time and changes nothing else: no result, no duty, no process left."""

import io
import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from kfp import compiler, dsl

from components.shared import polling
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.definitions.catalog import PIPELINES
from pipelines.images import environments
from pipelines.images.environments import Environment
from pipelines.targets.laptop import ahead as interpreters
from pipelines.targets.laptop import waiting
from pipelines.targets.laptop.ahead import InterpretersAhead, Launch
from pipelines.targets.laptop.processes import ProcessGroups, task_environment
from pipelines.targets.laptop.runtime import Processes
from pipelines.targets.local import execution, planned
from pipelines.targets.local.limits import Limits
from pipelines.targets.local.planned import PlannedTask


@pytest.fixture(scope="module")
def built() -> dict[str, Environment]:
    return environments.prepare(["gate", "ingestion"])


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def first(deed: str) -> int:
    """Do something to the interpreter that waits for the second task."""
    import os
    import signal
    import time
    from pathlib import Path

    if deed == "fail":
        raise ValueError(deed)
    deadline = time.monotonic() + 20
    while deed == "kill" and time.monotonic() < deadline:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_next = Path(os.readlink(process / "cwd")) == Path.cwd().parent / "ingestion"
            except OSError:
                continue
            if is_next:
                os.kill(int(process.name), signal.SIGKILL)
                return int(process.name)
        time.sleep(0.02)
    return 0


@dsl.component(base_image="perennial/ingestion", install_kfp_package=False)
def second(after: int, text: str, hangs: bool) -> str:
    """Return everything by which a task could tell how its process started."""
    import json
    import os
    import sys
    import time

    print("the second task runs in process", os.getpid())
    if hangs:
        time.sleep(600)
    own = {
        "text": text,
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        # The first folder is a new temporary one, which holds the task's own source.
        "path": list(sys.path)[1:],
        "flags": str(sys.flags),
        "arguments": len(sys.argv),
        "main": getattr(sys.modules["__main__"].__spec__, "name", None),
    }
    return json.dumps({"own": own, "parent": os.getppid()}, sort_keys=True)


@dsl.pipeline(name="chain")
def chain(deed: str = "nothing", text: str = "x", hangs: bool = False):
    """Run one task after the other."""
    second(after=first(deed=deed).output, text=text, hangs=hangs)


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.ended: dict[str, tuple[int, Any]] = {}
        self.hits: list[str] = []

    def started(self, step: str, log: Path) -> None:
        pass

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        self.ended[step] = (exit_code, outputs.get("Output"))

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        self.hits.append(step)


def compiled(built: dict[str, Environment], folder: Path) -> dict[str, Any]:
    compiler.Compiler().compile(chain, str(folder / "chain.yaml"))
    references = {name: environment.reference for name, environment in built.items()}
    return compilation.with_references(yaml.safe_load((folder / "chain.yaml").read_text()), references)


def run(
    built: dict[str, Environment],
    folder: Path,
    at_most: int = 2,
    cache: Path | None = None,
    limits: dict[str, Limits] | None = None,
    **arguments: Any,
) -> Watcher:
    folder.mkdir(parents=True)
    watcher, references = Watcher(), {name: environment.reference for name, environment in built.items()}
    with ProcessGroups() as groups, InterpretersAhead(groups, at_most) as ahead:
        tasks = Processes(built, groups, limits or {}, ahead)
        execution.execute(compiled(built, folder), arguments, references, tasks, watcher, folder, cache)
    return watcher


def waited(watcher: Watcher) -> bool:
    """Say whether the second task ran in an interpreter that waited for it, which has no shell around it."""
    return bool(json.loads(watcher.ended["ingestion"][1])["parent"] == os.getpid())


def working_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder or below it."""
    inside = []
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] and Path(process.info["cwd"]).is_relative_to(folder):
            inside.append(process)
    return inside


def test_a_task_can_not_tell_whether_its_interpreter_waited(built, tmp_path):
    text = "python3 -m pip install 'quoted' $HOME `x` \N{SNOWMAN}"
    cold = run(built, tmp_path / "cold", at_most=0, text=text)
    warm = run(built, tmp_path / "warm", text=text)
    alone, prepared = (json.loads(watcher.ended["ingestion"][1])["own"] for watcher in (cold, warm))

    assert (waited(cold), waited(warm)) == (False, True)
    assert prepared["text"] == text
    assert json.dumps(prepared) == json.dumps(alone).replace(str(tmp_path / "cold"), str(tmp_path / "warm"))
    assert "the second task runs in process" in (tmp_path / "warm/logs/ingestion.log").read_text()


def test_a_task_runs_although_its_interpreter_was_killed(built, tmp_path):
    watcher = run(built, tmp_path / "run", deed="kill")

    assert watcher.ended["gate"][1] > 0
    assert watcher.ended["ingestion"][0] == 0 and not waited(watcher)


def test_an_interpreter_whose_task_is_not_reached_is_ended(built, tmp_path):
    watcher = run(built, tmp_path / "run", deed="fail")

    assert watcher.ended["gate"][0] != 0 and "ingestion" not in watcher.ended
    assert working_in(tmp_path) == []
    assert runs.cause(tmp_path / "run/logs/gate.log", 1) == (runs.FAILED, "it raised ValueError: fail")


def test_no_interpreter_is_started_for_a_task_that_may_come_from_the_cache(built, tmp_path):
    whole = run(built, tmp_path / "one", cache=tmp_path / "cache")
    changed = run(built, tmp_path / "two", cache=tmp_path / "cache", text="y")
    nothing = run(built, tmp_path / "three", cache=tmp_path / "cache", text="y")

    assert waited(whole)
    assert changed.hits == ["gate"] and not waited(changed)
    assert nothing.hits == ["gate", "ingestion"] and nothing.ended == {}


def test_a_task_that_hangs_in_an_interpreter_that_waited_is_ended_at_its_timeout(built, tmp_path):
    watcher = run(built, tmp_path / "run", hangs=True, limits={"ingestion": Limits(timeout_s=2)})
    _, sentence = runs.cause(tmp_path / "run/logs/ingestion.log", watcher.ended["ingestion"][0])

    assert watcher.ended["ingestion"][0] == 124
    assert sentence.startswith("it did not end within 2 s")
    assert working_in(tmp_path) == []


@pytest.fixture
def plan(built: dict[str, Environment], tmp_path: Path) -> tuple[PlannedTask, ...]:
    references = {name: environment.reference for name, environment in built.items()}
    return planned.tasks(compiled(built, tmp_path), references, tmp_path / "scratch")


def launch(task: PlannedTask, built: dict[str, Environment]) -> Launch:
    python, source = built[task.step].python, built[task.step].source
    return Launch(python, source, task_environment(python, source, task.scratch, os.environ), task.scratch)


def command(task: PlannedTask, built: dict[str, Environment], folder: Path) -> list[str]:
    """Return the compiled command of a task, without its input."""
    containers = compiled(built, folder)["deploymentSpec"]["executors"].values()
    [own] = (
        executor["container"]["command"] for executor in containers if executor["container"]["command"][-1] == task.code
    )
    return [*own, "--executor_input", "{}", "--function_to_execute", "second"]


@pytest.mark.parametrize("changed", ["python", "source", "env"])
def test_an_interpreter_that_was_started_for_another_lock_source_or_environment_gets_no_task(
    built, plan, tmp_path, changed
):
    other = {"python": Path(sys.executable), "source": tmp_path, "env": {"SEED": "1"}}[changed]
    with ProcessGroups() as groups, InterpretersAhead(groups) as ahead:
        ahead.expect(plan, lambda task: launch(task, built))
        assert ahead.start("gate", command(plan[0], built, tmp_path), launch(plan[0], built), io.BytesIO()) is None
        began = working_in(tmp_path / "scratch")
        differs = replace(launch(plan[1], built), **{changed: other})
        process = ahead.start("ingestion", command(plan[1], built, tmp_path), differs, io.BytesIO())

        assert len(began) == 1
        assert process is None
        assert working_in(tmp_path / "scratch") == []


def test_no_interpreter_waits_when_memory_is_short(built, plan, tmp_path):
    with ProcessGroups() as groups, InterpretersAhead(groups, min_available_bytes=2**60) as ahead:
        ahead.expect(plan, lambda task: launch(task, built))
        ahead.start("gate", command(plan[0], built, tmp_path), launch(plan[0], built), io.BytesIO())

        assert working_in(tmp_path / "scratch") == []


def test_sigkill_of_the_command_ends_the_interpreters_that_wait(tmp_path):
    script = textwrap.dedent(f"""
        import io, time
        from pathlib import Path
        from tests.pipelines import test_interpreters_ahead as t
        folder, built = Path({str(tmp_path)!r}), t.environments.prepare(["gate", "ingestion"])
        references = {{name: environment.reference for name, environment in built.items()}}
        plan = t.planned.tasks(t.compiled(built, folder), references, folder / "scratch")
        with t.ProcessGroups() as groups, t.InterpretersAhead(groups) as ahead:
            ahead.expect(plan, lambda task: t.launch(task, built))
            ahead.start("gate", t.command(plan[0], built, folder), t.launch(plan[0], built), io.BytesIO())
            print("waits", flush=True)
            time.sleep(600)
    """)
    program = [sys.executable, "-c", script]
    with subprocess.Popen(program, cwd=environments.ROOT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout
        assert victim.stdout.readline() == "waits\n"
        began = working_in(tmp_path)
        victim.kill()

    assert len(began) == 1
    assert polling.within(lambda: working_in(tmp_path) == [], deadline_s=20, poll_s=0.02)


def prepared_modules(step: str) -> tuple[Environment, list[str]]:
    [environment] = environments.prepare([step]).values()
    code = (environments.ROOT / "components" / step / "component.py").read_text()
    return environment, interpreters.modules(PlannedTask(step, step, code, {}, Path(), frozenset()), environment.source)


def test_a_step_imports_a_library_that_it_needs_late_before_its_task_comes(tmp_path):
    environment, modules = prepared_modules("champion")
    program = (
        "import runpy, sys; prepare = runpy.run_path(sys.argv[1])['prepare']; prepare(sys.argv[2:]); "
        "sys.exit('mlflow' not in sys.modules)"
    )
    env = task_environment(environment.python, environment.source, tmp_path, os.environ)
    subprocess.run([str(environment.python), "-c", program, waiting.__file__, *modules], env=env, check=True)


def test_a_step_imports_its_own_modules_that_come_late():
    _, modules = prepared_modules("tuning")

    assert {"components.tuning.logic", "components.tuning.objective", "components.shared.bundle"} < set(modules)
    assert "components.tuning.component" not in modules


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_every_task_of_a_pipeline_is_planned_after_those_that_it_waits_for(name):
    entry = PIPELINES[name]
    ir = compilation.kept_symbolic(entry)
    references = {step: f"perennial/{step.replace('_', '-')}" for step in entry.steps}
    tasks = planned.tasks(ir, references, Path("/scratch"))
    containers = [
        executor["container"] for executor in ir["deploymentSpec"]["executors"].values() if "container" in executor
    ]

    assert {task.step for task in tasks} == set(entry.steps)
    for index, task in enumerate(tasks):
        assert task.after <= {other.name for other in tasks[:index]}
    assert all(interpreters.component([*container["command"], *container["args"]]) for container in containers)


def test_a_task_in_a_branch_waits_for_what_its_condition_looks_at():
    entry = PIPELINES["training"]
    references = {step: f"perennial/{step.replace('_', '-')}" for step in entry.steps}
    tasks = {task.step: task for task in planned.tasks(compilation.kept_symbolic(entry), references, Path("/scratch"))}

    assert {"gate", "evaluation", "ingestion"} < tasks["registration"].after
    assert tasks["rejection"].after == tasks["registration"].after
    assert tasks["deployment"].after == tasks["registration"].after | {tasks["registration"].name}
