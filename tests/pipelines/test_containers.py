"""Tasks as containers: their exit codes are always true, their files the caller's, and none outlives the command."""

import json
import os
import platform
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kfp import dsl

from components.shared.errors import InputError, StepFailed
from components.shared.project import Project
from pipelines import runs
from pipelines.definitions import compilation
from pipelines.images import builder as images
from pipelines.images import engine
from pipelines.targets import reading
from pipelines.targets.docker import settings, tasks
from pipelines.targets.local import execution
from pipelines.targets.local.limits import Limits
from pipelines.targets.model import Docker
from pipelines.targets.state import State
from tests.engine import base, client_or_skip

if TYPE_CHECKING:
    from docker import DockerClient

INSTANT_FAILURES = 40


@pytest.fixture(scope="module")
def client() -> "DockerClient":
    return client_or_skip()


@pytest.fixture
def state(tmp_path: Path) -> State:
    (tmp_path / "targets").mkdir()
    target = read(tmp_path)
    found = State(tmp_path, target.services)
    found.create()
    return found


@pytest.fixture
def containers(client: "DockerClient", state: State) -> Iterator[tasks.Containers]:
    with tasks.watched(client, f"{settings.RUN}={state.root}"):
        yield place(state)


def read(root: Path, *overrides: str) -> Docker:
    target = reading.read("docker", root, overrides)
    assert isinstance(target, Docker)
    return target


def place(state: State, limits: dict[str, Limits] | None = None, **environment: str) -> tasks.Containers:
    how = settings.common(read(state.root), state, environment)
    how["labels"] |= {settings.RUN: str(state.root)}
    return tasks.Containers(how, limits or {}, os.cpu_count() or 1)


def run(containers: tasks.Containers, client: "DockerClient", state: State, script: str) -> tuple[int, str]:
    """Run a shell script as the step 'gate'; return its exit code and its log."""
    log, scratch = state.folder / f"log-{threading.get_ident()}", state.folder / "scratch"
    scratch.mkdir(exist_ok=True)
    with log.open("wb") as output:
        code = containers.run(client, "gate", base(), ["sh", "-c", script], containers.settings, scratch, output)
    return code, log.read_text()


def running(client: "DockerClient", state: State) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.api.containers(all=True, filters={"label": f"{settings.STATE}={state.folder}"})
    return found


def wait_until(holds: Any, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def test_the_exit_code_of_a_container_that_fails_at_once_is_always_its_own(client, containers, state):
    codes = [run(containers, client, state, f"exit {3 + number % 5}")[0] for number in range(INSTANT_FAILURES)]

    assert codes == [3 + number % 5 for number in range(INSTANT_FAILURES)]
    assert running(client, state) == []


def test_so_it_is_when_many_run_at_once(client, containers, state):
    codes: list[int] = []
    each = INSTANT_FAILURES // 4

    def fail() -> None:
        codes.extend(run(containers, client, state, "exit 7")[0] for _ in range(each))

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert codes == [7] * 4 * each


def test_all_that_a_container_prints_is_in_its_log(client, containers, state):
    code, log = run(containers, client, state, "seq 1 20000; echo last >&2; seq 1 3")

    assert code == 0
    assert log.split() == [*map(str, range(1, 20001)), "last", "1", "2", "3"]


def test_what_a_container_writes_belongs_to_the_caller(client, containers, state):
    out = state.folder / "made"
    code, log = run(containers, client, state, f"mkdir {out} && echo x > {out}/file && echo y > /tmp/z && id -u && pwd")

    assert code == 0, log
    for path in (out, out / "file"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())
    assert log.split() == [str(os.getuid()), str(state.folder / "scratch")]


@pytest.mark.parametrize(
    "path", ["/anywhere", "/usr/bin/anywhere", "{root}/project.yaml"], ids=["root", "packages", "project"]
)
def test_a_container_can_write_nothing_but_the_projects_state(client, containers, state, path):
    code, log = run(containers, client, state, f"echo x > {path.format(root=state.root)}")

    assert code != 0 and "Read-only file system" in log


def test_a_container_sees_none_of_the_callers_other_files(client, containers, state, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "secret"
    other.write_text("x")
    code, log = run(containers, client, state, f"test ! -e {other} && test -d {state.root} && cat /proc/self/mounts")
    mounted = [line.split()[1] for line in log.splitlines()]

    assert code == 0, log
    ours = [path for path in mounted if not path.startswith(("/proc", "/sys", "/dev", "/etc/")) and path != "/"]
    assert sorted(ours) == sorted(["/tmp", str(state.root), str(state.folder)])


def test_a_container_gets_the_variables_that_are_meant_for_it_and_no_others(client, state, monkeypatch):
    monkeypatch.setenv("PASSWORD_OF_ANOTHER", "x")
    target = read(state.root, "pass_env=[MLFLOW_TRACKING_TOKEN]")
    project = a_project({"rows": {"database": "postgresql+psycopg://h/d", "query": "q", "credentials_env": "DB_LOGIN"}})
    passed = settings.passed_on(target, project, {"DB_LOGIN": "u:p", "MLFLOW_TRACKING_TOKEN": "t", "OTHER": "o"})
    _, log = run(place(state, **passed), client, state, "env")
    names = {line.partition("=")[0] for line in log.splitlines()}

    assert passed == {"DB_LOGIN": "u:p", "MLFLOW_TRACKING_TOKEN": "t"}
    assert names >= {"DB_LOGIN", "MLFLOW_TRACKING_TOKEN", "DO_NOT_TRACK", "TMPDIR"}
    assert "PASSWORD_OF_ANOTHER" not in names


def test_a_container_gets_the_signing_key_itself_where_releases_are_signed(state, tmp_path):
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----")
    public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
    unsigned = a_project({"rows": {"path": "rows.csv"}})
    release = unsigned.release.model_copy(update={"signed_by": (public,)})
    signed = unsigned.model_copy(update={"release": release})
    environment = {"PERENNIAL_SIGNING_KEY": str(tmp_path / "key.pem")}

    target = read(state.root)
    assert settings.passed_on(target, signed, environment) == {"PERENNIAL_SIGNING_KEY": "-----BEGIN PRIVATE KEY-----"}
    assert settings.passed_on(target, unsigned, environment) == {}


def test_a_container_of_another_step_does_not_see_the_signing_key(client, state):
    code, log = run(place(state, PERENNIAL_SIGNING_KEY="secret"), client, state, "env")

    assert code == 0 and "TMPDIR=" in log and "PERENNIAL_SIGNING_KEY" not in log


def test_process_numbers_and_loopback_are_those_of_this_machine(client, containers, state):
    code, log = run(containers, client, state, f"grep -q pytest /proc/{os.getpid()}/cmdline && cat /proc/self/stat")

    assert code == 0
    assert int(log.split()[0]) > 1


def test_a_container_without_memory_says_so_with_its_limit(client, state):
    eat = "exec python3 -c 'x = bytearray(10**9)'"
    code, log = run(place(state, {"gate": Limits(memory_bytes=64 * 2**20)}), client, state, eat)
    (state.folder / "gate.log").write_text(log)

    assert code == 137
    assert runs.cause(state.folder / "gate.log", code) == (
        runs.FAILED,
        "it ran out of memory, it may use 64 MiB; raise its memory_limit under 'resources', or give it less data.",
    )


def test_a_container_that_hangs_is_ended_at_its_timeout_and_says_so(client, state):
    code, log = run(place(state, {"gate": Limits(timeout_s=1)}), client, state, "sleep 600")

    assert code == 124
    assert log.strip().splitlines()[-1].startswith("components.shared.errors.StepFailed: it did not end within 1 s")
    assert running(client, state) == []


def test_more_cpus_than_there_are_is_no_error(client, state):
    assert run(place(state, {"gate": Limits(cpus=1000)}), client, state, "true")[0] == 0


def test_an_image_that_is_not_there_is_a_failed_step_with_a_sentence(client, containers, state):
    log = state.folder / "log"
    with log.open("wb") as output:
        code = containers.run(client, "gate", "perennial/none:0", ["true"], containers.settings, state.folder, output)

    assert runs.cause(log, code)[1].startswith("its container could not be run: No such image: perennial/none:0")


SLEEPER = """
    import sys
    from pathlib import Path
    from pipelines.containers import engine, tasks
    from tests.pipelines.test_containers import place, read, settings
    from pipelines.state import State
    root = Path(sys.argv[1])
    state = State(root, read(root).services)
    with tasks.watched(engine.connect(), f"{settings.RUN}={root}"), (state.folder / "log").open("wb") as output:
        here = place(state)
        here.run(engine.connect(), "gate", sys.argv[2], ["sh", "-c", "sleep 600 & sleep 600"], here.settings,
                 state.folder, output)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_container_is_left_of_a_command_that_is_killed(client, state, number):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLEEPER), str(state.root), base()],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_until(lambda: [c for c in running(client, state) if c["State"] == "running"])
    [container] = running(client, state)
    inside = [int(row[1]) for row in client.api.top(container["Id"])["Processes"]]
    process.send_signal(number)
    process.wait(30)

    wait_until(lambda: not running(client, state))
    assert len(inside) >= 2
    wait_until(lambda: not [pid for pid in inside if Path(f"/proc/{pid}").exists()])


def test_what_a_killed_watchdog_left_is_removed_by_labels(client, containers, state):
    client.containers.create(base(), ["true"], labels={settings.STATE: str(state.folder), settings.RUN: "former"})
    mine = [f"{settings.STATE}={state.folder}", settings.RUN]

    assert engine.remove(client, *mine) == 1
    assert engine.remove(client, *mine) == 0


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("unix:///nowhere/docker.sock", "no Docker engine runs here (there is no /nowhere/docker.sock); install or"),
        ("unix://{silent}", "(connection refused); start one ('docker info' shows more), or run with --target laptop."),
        ("tcp://127.0.0.1:1", "(connection refused); start one"),
    ],
)
def test_no_engine_is_one_sentence(host, sentence, monkeypatch, tmp_path):
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
    monkeypatch.setenv("DOCKER_HOST", host.format(silent=tmp_path / "s"))

    with pytest.raises(StepFailed) as failed:
        engine.connect()
    assert sentence in str(failed.value) and "\n" not in str(failed.value)


def test_a_socket_that_this_user_may_not_use_is_one_sentence(monkeypatch, tmp_path):
    """The caller is root here, whom no mode stops: another user asks."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    import socket

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "s"))
    listening.listen()
    (tmp_path / "s").chmod(stat.S_IRWXU)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setuid(65534)
        os.environ["DOCKER_HOST"] = f"unix://{tmp_path / 's'}"
        try:
            engine.connect()
        except StepFailed as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.wait()

    assert "may not use the Docker engine" in os.read(reader, 1000).decode()


def a_project(sources: dict[str, Any]) -> Project:
    return Project.model_validate(
        {
            "name": "p",
            "task": "binary",
            "entity": "id",
            "event_time": "at",
            "sources": sources,
            "label": {"source": "rows", "column": "y"},
            "features": {"service": "s", "columns": {"x": {"type": "numeric"}}},
        }
    )


@pytest.mark.parametrize(
    ("overrides", "source", "sentence"),
    [
        ([], {"path": "../elsewhere.csv"}, "is outside the folders that containers see"),
        ([], {"database": "duckdb:////data/x.duckdb", "query": "q"}, "/data/x.duckdb is outside"),
        (["services.registry=sqlite:////data/mlflow.db"], {}, "services.registry is /data/mlflow.db, which no folder"),
        (["mounts=['{root}:ro']"], {}, "which no folder in 'mounts' lets containers write to"),
        (["pid=''"], {}, "expected pid: host"),
        (["network=bridge"], {}, "expected network: host"),
        (["mounts=[data]"], {}, "expected an absolute folder"),
    ],
)
def test_what_no_container_could_reach_is_refused_before_the_first_step(tmp_path, overrides, source, sentence):
    target = read(tmp_path, *overrides)
    with pytest.raises(InputError) as refused:
        settings.check(target, a_project({"rows": source or {"path": "t.csv"}}), State(tmp_path, target.services))
    assert sentence in str(refused.value)


def test_a_link_out_of_the_project_is_followed(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "t.csv").write_text("x\n")
    (tmp_path / "p" / "t.csv").symlink_to(tmp_path / "t.csv")
    target, project = read(tmp_path / "p"), a_project({"rows": {"path": "t.csv"}})

    with pytest.raises(InputError, match="is outside"):
        settings.check(target, project, State(tmp_path / "p", target.services))
    wider = read(tmp_path / "p", f"mounts={json.dumps([f'{tmp_path}:ro', str(tmp_path / 'p/.perennial')])}")
    settings.check(wider, project, State(tmp_path / "p", wider.services))


def test_the_seam_on_kfp_is_as_it_was_when_this_was_written():
    """kfp is pinned; whoever raises the pin learns here whether containers still come to us."""
    import inspect

    from kfp.local import docker_task_handler, task_dispatcher

    run = inspect.signature(docker_task_handler.run_docker_container)
    called = inspect.getsource(docker_task_handler.DockerTaskHandler.run)

    assert [*run.parameters] == ["client", "image", "command", "volumes", "container_run_args"]
    assert "run_docker_container(" in called and "get_volumes_to_mount" in called
    assert task_dispatcher.docker_task_handler is docker_task_handler


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def flag(raised: bool) -> bool:
    """Say where it runs, and return the argument."""
    import sys

    print("flag runs in", sys.executable)
    return raised


@dsl.component(base_image="perennial/gate", install_kfp_package=False)
def refusing(text: str) -> str:
    """Fail, as a step does that meets bad input."""
    from components.shared.errors import DataBlocked

    raise DataBlocked(text)


@dsl.pipeline(name="branches-in-containers")
def branches(raised: bool, text: str):
    """One branch, or none."""
    flagged = flag(raised=raised)
    with dsl.If(flagged.output == True):  # noqa: E712
        refusing(text=text)


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def started(self, step: str, log: Path) -> None:
        self.told.append(("started", step))

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        self.told.append(("finished", step, exit_code, outputs))

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        self.told.append(("cached", step, outputs))


def test_a_compiled_pipeline_runs_through_kfp_in_containers_and_what_was_swapped_is_put_back(client, state):
    from kfp import compiler
    from kfp.local import docker_task_handler

    theirs = docker_task_handler.run_docker_container
    [built] = images.build(["gate"], base=base())
    compiler.Compiler().compile(branches, str(state.root / "p.yaml"))
    symbolic = yaml.safe_load((state.root / "p.yaml").read_text())
    ir = compilation.with_references(symbolic, {"gate": built.reference})
    told = {}
    for name, raised in (("one", True), ("two", True), ("three", False)):
        watcher, folder = Watcher(), state.runs / name
        folder.mkdir()
        arguments = {"raised": raised, "text": "orders has 3 anomalies."}
        execution.execute(ir, arguments, {"gate": built.reference}, place(state), watcher, folder, state.cache)
        told[name] = watcher.told

    failed = ("finished", "gate", 1, {})
    assert told["one"] == [("started", "gate"), ("finished", "gate", 0, {"Output": True}), ("started", "gate"), failed]
    assert told["two"] == [("cached", "gate", {"Output": True}), ("started", "gate"), failed]
    assert told["three"] == [("started", "gate"), ("finished", "gate", 0, {"Output": False})]
    assert runs.cause(state.runs / "one/logs/gate.log", 1) == (runs.BLOCKED, "orders has 3 anomalies.")
    assert "flag runs in /opt/venv/bin/python3" in (state.runs / "three/logs/gate.log").read_text()
    assert docker_task_handler.run_docker_container is theirs
    assert running(client, state) == []


@pytest.mark.parametrize(
    ("info", "address", "sentence"),
    [
        ({"KernelVersion": "5.15.0-linuxkit"}, None, "runs on another system (kernel 5.15.0-linuxkit, here"),
        ({"KernelVersion": platform.release()}, "tcp://10.0.0.1:2375", "tcp://10.0.0.1:2375 runs on another system"),
        (
            {"KernelVersion": platform.release(), "SecurityOptions": ["name=seccomp", "name=rootless"]},
            None,
            "maps users (name=rootless)",
        ),
    ],
)
def test_an_engine_that_shares_less_with_this_machine_is_refused(info, address, sentence, monkeypatch):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if address:
        monkeypatch.setenv("DOCKER_HOST", address)

    with pytest.raises(InputError) as refused:
        engine.check_here(SimpleNamespace(info=lambda: info))
    assert sentence in str(refused.value)
