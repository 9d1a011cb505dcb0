"""Feast's feature server as a process beside the local endpoint; it ends with the command that started it."""

import contextlib
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.shared import inference, polling
from components.shared.errors import InputError, StepFailed
from pipelines.images.environments import Environment
from pipelines.targets.laptop.processes import ProcessGroups, task_environment
from pipelines.targets.local.feature_server import RunningFeatureServer

_HOST = "127.0.0.1"
_POLL_S, _START_S = 0.05, 120.0
_REGISTRY_S = 60
_STOP_S = 5.0


@contextlib.contextmanager
def started(environment: Environment, store: str, log: Path) -> Iterator[RunningFeatureServer]:
    """Serve an online store on loopback until the context is left.

    Args:
        environment: The virtualenv of ``materialization``, which has Feast.
        store: The folder that the pipeline 'materialization' wrote.
        log: Takes what the server prints.

    Raises:
        InputError: If nothing was materialized into the store, or it is not a folder.
        StepFailed: If the server does not answer in time.
    """
    _check(store)
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    feast = environment.python.with_name("feast")
    command = [str(feast), "--chdir", store, "serve", f"--host={_HOST}", f"--port={port}", "--workers=1"]
    command += ["--no-access-log", f"--registry_ttl_sec={_REGISTRY_S}"]
    with tempfile.TemporaryDirectory() as scratch, ProcessGroups() as groups, log.open("wb") as output:
        env = task_environment(environment.python, environment.source, Path(scratch), os.environ)
        process = groups.start(command, env, Path(store), output)
        url = f"http://{_HOST}:{port}"
        polling.within(lambda: process.poll() is not None or _answers(url), _START_S, _POLL_S)
        if process.poll() is not None or not _answers(url):
            raise _silent(process, log)
        try:
            yield RunningFeatureServer(url, process)
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_S)


def _check(store: str) -> None:
    if "://" in store:
        raise InputError(
            f"services.online_store is {store!r}; with 'serving: online_features', a local endpoint needs a folder. "
            "Name one in the target file."
        )
    if not (Path(store) / "feature_store.yaml").is_file():
        raise InputError(
            f"the online store {store} is empty, so no features can be looked up; fill it with 'perennial run "
            "--pipeline materialization'."
        )


def _answers(url: str) -> bool:
    try:
        status, _ = inference.call(url, "/health")
    except StepFailed:
        return False
    return status == 200


def _silent(process: "subprocess.Popen[bytes]", log: Path) -> StepFailed:
    code = process.poll()
    what = f"did not answer within {_START_S:.0f} s" if code is None else f"ended with {code} before it answered"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return StepFailed(f"Feast's feature server {what}; its log {log} ends: {lines[-1][:300] if lines else ''!r}.")


def _free_port() -> int:
    # Feast can't be told to take any free port and say which.
    with socket.create_server((_HOST, 0)) as listener:
        return int(listener.getsockname()[1])
