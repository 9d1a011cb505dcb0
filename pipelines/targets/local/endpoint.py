"""The command's side of the local endpoint: start its server, find it, ask it, stop it.

The server is a process of its own, in the virtualenv of ``serving`` and in its own process group, or a container. It
belongs to the process that started it and ends when that one does, even by SIGKILL.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components.shared import inference, polling, processes, telemetry
from components.shared.documents.release import RegisteredVersion
from components.shared.errors import DISK_FULL, InputError, PerennialError, StepFailed
from components.shared.inference import PROBE, Subject
from components.shared.package.integrity import SIGNING_KEY
from components.shared.release import endpoint_folder, routing
from components.shared.release.endpoint_folder import EndpointServer

LOG = "server.log"
ACCESS_LOG = "access.log"
_POLL_S = 0.05
_STOP_S = 15.0
_LEAST_BYTES = 64 * 1024


class ServerProcess(Protocol):
    """What runs a server: a process, or a container; either ends when the command that started it does."""

    @property
    def pid(self) -> int:
        """Its number, as this machine counts."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""

    def end(self) -> None:
        """Let it finish what it has begun, and end it."""


@dataclass(frozen=True)
class Running:
    """A server that this process started."""

    endpoint: Path
    server: EndpointServer
    process: ServerProcess

    def stop(self) -> None:
        """End the server: requests in flight are finished, then nothing of it is left."""
        self.process.end()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()


def find(endpoint: Path) -> EndpointServer | None:
    """Return the server that runs on this endpoint: its process lives, is the one that wrote, and answers."""
    server = endpoint_folder.server(endpoint)
    if server is None:
        return None
    try:
        status, _ = inference.call(server.url, "/v2/health/live")
    except StepFailed:
        return None
    return server if status == 200 else None


def start(
    endpoint: Path,
    *,
    python: Path,
    source: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    grpc_port: int | None = 0,
    options: Sequence[str] = (),
    deadline_s: float = 120.0,
) -> Running:
    """Start a server in a virtualenv and wait until it answers.

    Args:
        endpoint: The folder that says what answers; created if absent. Its ``server.log`` goes on.
        python: Interpreter of the virtualenv of ``serving``.
        source: Folder that holds ``serving`` and ``components``.
        host: Address to listen on.
        port: REST port; 0 takes any free one.
        grpc_port: gRPC port; 0 takes any free one, None serves none.
        options: Further arguments of ``python -m serving``.
        deadline_s: Longest wait; a machine's first start reads hundreds of files.

    Raises:
        InputError: If a server runs there already.
        StepFailed: If it ends or does not answer in time; the sentence says why as far as the log knows.
    """

    def begin(arguments: list[str]) -> ServerProcess:
        with (endpoint / LOG).open("ab") as log:
            return _Owned(
                [str(python), "-m", "serving", *arguments, "--server-log", str(endpoint / LOG)],
                cwd=endpoint,
                env=_environment(source),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    return launch(endpoint, begin, host=host, port=port, grpc_port=grpc_port, options=options, deadline_s=deadline_s)


def launch(
    endpoint: Path,
    begin: Callable[[list[str]], ServerProcess],
    *,
    host: str,
    port: int,
    grpc_port: int | None,
    options: Sequence[str] = (),
    deadline_s: float = 120.0,
) -> Running:
    """Start a server, however ``begin`` starts one with these arguments of ``serving``; otherwise as ``start``."""
    if other := endpoint_folder.server(endpoint):
        raise InputError(
            f"The endpoint {endpoint} is served already by process {other.pid} at {other.rest_url}; "
            "stop that one first."
        )
    endpoint.mkdir(parents=True, exist_ok=True)
    arguments = ["--endpoint", str(endpoint), "--host", host, "--port", str(port), "--owned", *options]
    if grpc_port is not None:
        arguments += ["--grpc-port", str(grpc_port)]
    process = begin(arguments)
    try:
        return Running(endpoint, _wait(endpoint, process, deadline_s), process)
    except BaseException:
        process.end()
        raise


def stop(server: EndpointServer) -> None:
    """End a server that another process started; one that has ended already is fine."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        # Its number may belong to another process by now, which must not be signalled.
        if not processes.alive(server.pid, server.started):
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(server.pid, number)
        polling.within(lambda: not processes.alive(server.pid, server.started), _STOP_S, _POLL_S)


def ask(
    endpoint: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    explains: bool = False,
    interval: float | None = None,
    subject: Subject | None = None,
    is_probe: bool = False,
) -> dict[str, Any]:
    """Ask the release that answers for the rows' predictions.

    Args:
        endpoint: Its folder.
        rows: One object of features per row.
        explains: Ask what each feature contributed, too.
        interval: Ask for the interval or set that holds this share of labels, too.
        subject: Whom the rows are about; the answer then holds the features that were scored.
        is_probe: Whether the rows are a sample that nobody acts on; then monitoring leaves the request out.

    Returns:
        ``{"model_name", "model_version", "predictions": [{"score", "decision", "out_of_vocabulary"}]}``; see
        ``inference.predict``.

    Raises:
        InputError: If nothing was released or a row is refused; the sentence names the field.
        StepFailed: If no server runs.
    """
    version = routing.answering(endpoint)
    if version is None:
        raise InputError("Nothing has been released yet, so nothing can answer; run 'perennial run' first.")
    server = endpoint_folder.server(endpoint)
    if server is None:
        raise StepFailed(f"No server runs on the endpoint {endpoint}; start one with 'perennial serve'.")
    release = RegisteredVersion.read(endpoint_folder.release_folder(endpoint, version))
    request_id = f"{PROBE}{uuid.uuid4()}" if is_probe else None
    return inference.predict(
        server.url,
        release.name,
        rows,
        explains=explains,
        interval=interval,
        request_id=request_id,
        subject=subject,
    )


def _environment(source: Path) -> dict[str, str]:
    # Without bytecode every start would compile a thousand modules again: eleven seconds instead of three.
    # A process that answers a network must not hold the key that signs models.
    dropped = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", SIGNING_KEY)
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    return inherited | {
        "PYTHONPATH": str(source),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
        **telemetry.OFF,
    }


def _wait(endpoint: Path, process: ServerProcess, deadline_s: float) -> EndpointServer:
    polling.within(lambda: process.poll() is not None or _answers(endpoint, process), deadline_s, _POLL_S)
    if (code := process.poll()) is not None:
        raise _ended(endpoint, code)
    server = endpoint_folder.server(endpoint)
    if server is not None and _answers(endpoint, process):
        return server
    raise StepFailed(
        f"The model server did not answer within {deadline_s:.0f} s; "
        f"its log {endpoint / LOG} ends: {_tail(endpoint)!r}."
    )


def _answers(endpoint: Path, process: ServerProcess) -> bool:
    """Say whether the server of this process has written its address and answers there."""
    server = endpoint_folder.server(endpoint)
    return server is not None and server.pid == process.pid and find(endpoint) is not None


def _ended(endpoint: Path, code: int) -> PerennialError:
    """Turn the last line of the server's log into the sentence of its class."""
    kind, _, sentence = _tail(endpoint).partition(": ")
    if kind in ("InputError", "StepFailed"):
        return (InputError if kind == "InputError" else StepFailed)(sentence)
    if shutil.disk_usage(endpoint).free < _LEAST_BYTES:
        # Its log has no room for the reason either.
        return StepFailed(DISK_FULL)
    return StepFailed(
        f"The model server ended with {code} before it answered; its log {endpoint / LOG} ends: {_tail(endpoint)!r}."
    )


def _tail(endpoint: Path) -> str:
    lines = (endpoint / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""


class _Owned(subprocess.Popen[bytes]):
    """A process that ends when its standard input closes, as it does when the process at the other end dies."""

    def end(self) -> None:
        """Let it finish what it has begun; what is left after a while is killed."""
        if self.stdin:
            with contextlib.suppress(OSError):
                self.stdin.close()
        with contextlib.suppress(ProcessLookupError):
            self.terminate()
        try:
            self.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
