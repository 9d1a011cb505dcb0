"""The model server as a container: it belongs to the command that started it, and ends with it."""

import contextlib
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any

from components.shared.errors import StepFailed
from pipelines.images import engine

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_STOP_S = 15
# The server writes its log itself, so no other process has to read it; the shell replaces itself with the server.
_INTO_LOG = 'exec "$@" >>"$0" 2>&1'


@dataclass(frozen=True)
class ServerContainer:
    """A container that ends when its standard input closes, as it does when the process at the other end dies."""

    container: "Container"
    pid: int
    _input: Any
    _code: "Future[int]"

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""
        return self._code.result() if self._code.done() else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        return self._code.result(timeout)

    def end(self) -> None:
        """Let it finish what it has begun; what is left after a while is killed."""
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self.container.stop(timeout=_STOP_S)
        self._input.close()
        with contextlib.suppress(APIError):
            self.container.remove(force=True)


def begin(
    client: "DockerClient", image: str, arguments: list[str], log: str, settings: dict[str, Any]
) -> ServerContainer:
    """Start a server with these arguments.

    Args:
        client: The engine.
        image: The image of ``serving``.
        arguments: Of ``python -m serving``.
        log: File for what it prints, as the container sees it.
        settings: Settings of the container.

    Raises:
        StepFailed: If the container does not start.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    command = ["-c", _INTO_LOG, log, "python3", "-m", "serving", *arguments]
    container = None
    try:
        container = client.containers.create(
            image, command, entrypoint=["sh"], stdin_open=True, auto_remove=True, **settings
        )
        held = client.api.attach_socket(container.id, params={"stdin": 1, "stream": 1})
        container.start()
        container.reload()
    except (DockerException, RequestException) as error:
        if container is not None:
            with contextlib.suppress(DockerException, RequestException):
                container.remove(force=True)
        raise StepFailed(
            f"the container of the model server could not be run: {engine.explained(error)}; 'docker info' shows more."
        ) from None
    code: Future[int] = Future()
    Thread(target=_await, args=(client, container.id, code), daemon=True).start()
    return ServerContainer(container, int(container.attrs["State"]["Pid"]), held, code)


def _await(client: "DockerClient", container: str, code: "Future[int]") -> None:
    # Asked while it runs: the engine removes it when it has ended, and its exit code with it.
    try:
        code.set_result(int(client.api.wait(container, timeout=None)["StatusCode"]))
    except Exception as error:
        code.set_exception(StepFailed(f"the model server's container is gone: {engine.explained(error)}."))
