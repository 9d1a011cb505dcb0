"""Tasks as containers, through kfp.local's DockerRunner; none outlives the command.

kfp's own ``run_docker_container`` lets the engine remove a container that has ended, and takes one that was removed
before it could ask for a success. Ours waits, asks, and then removes.
"""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipelines.images import engine
from pipelines.targets.docker import settings, watchdog
from pipelines.targets.local import limits, step_secrets
from pipelines.targets.local.limits import Limits
from pipelines.targets.local.planned import PlannedTask
from pipelines.targets.local.seam import Perform, Seam

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

# As on the laptop: one stream, or the engine would cut lines of one into lines of the other.
_AS_ONE = ("sh", "-c", 'exec "$@" 2>&1', "sh")
# The exit code of the docker command for a container that did not start.
NOT_STARTED = 125


@dataclass(frozen=True)
class Containers:
    """Runs each task of a run in a container."""

    settings: Mapping[str, Any]
    limits: Mapping[str, Limits]
    cpus_here: int

    def seam(self, perform: Perform, planned: Sequence[PlannedTask]) -> Seam:
        """Return a seam in which kfp's Docker handler runs, waits for and removes a container as we do."""
        from kfp.local import DockerRunner, docker_task_handler

        def run_docker_container(
            client: "DockerClient", image: str, command: list[str], volumes: dict[str, Any], **settings: Any
        ) -> int:
            def start(step: str, scratch: Path, output: IO[bytes]) -> int:
                return self.run(client, step, image, command, settings | {"volumes": volumes}, scratch, output)

            return perform(image, command, start)

        runner = DockerRunner(**self.settings)
        return Seam(runner, ((docker_task_handler, "run_docker_container", run_docker_container),))

    def run(
        self,
        client: "DockerClient",
        step: str,
        image: str,
        command: list[str],
        settings_: Mapping[str, Any],
        scratch: Path,
        output: IO[bytes],
    ) -> int:
        """Run the command of a step in a container of its image; return its exit code."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        bounds = self.limits.get(step, Limits())
        own = {
            "working_dir": str(scratch),
            # Not /tmp, which is memory: what a step spills may be larger.
            "environment": step_secrets.visible(step, settings_.get("environment") or {}) | {"TMPDIR": str(scratch)},
            "labels": dict(settings_.get("labels") or {}) | {settings.STEP: step},
            **settings.within(bounds, self.cpus_here),
        }
        try:
            with _container(client, image, [*_AS_ONE, *command], {**settings_, **own}) as container:
                return _run(container, bounds, output)
        except (DockerException, RequestException) as error:
            limits.say(output, f"its container could not be run: {engine.explained(error)}; 'docker info' shows more.")
            return NOT_STARTED


@contextlib.contextmanager
def watched(client: "DockerClient", label: str) -> Iterator[None]:
    """Leave no container with a label behind, whatever ends the command."""
    command = [sys.executable, "-I", "-m", watchdog.__name__, label]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield
        finally:
            engine.remove_until_gone(client, label)
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(watchdog.DONE)
                process.stdin.flush()


@contextlib.contextmanager
def _container(
    client: "DockerClient", image: str, command: list[str], settings: Mapping[str, Any]
) -> Iterator["Container"]:
    """Create a container, and remove it whatever happens."""
    from docker.errors import NotFound

    container = client.containers.create(image, command, **settings)
    try:
        yield container
    finally:
        with contextlib.suppress(NotFound):
            container.remove(force=True)


def _run(container: "Container", bounds: Limits, output: IO[bytes]) -> int:
    """Start a container, copy what it prints, wait for its end, and say in its log what ended it from outside."""
    printed = container.attach(stream=True, stdout=True, stderr=True)
    container.start()
    copying = threading.Thread(target=_copy, args=(printed, output), daemon=True)
    copying.start()
    hung = threading.Event()

    def expire() -> None:
        hung.set()
        container.kill()

    timer = threading.Timer(bounds.timeout_s, expire) if bounds.timeout_s else None
    if timer:
        timer.start()
    try:
        code = int(container.client.api.wait(container.id, timeout=None)["StatusCode"])
    finally:
        if timer:
            timer.cancel()
    copying.join(10)
    if hung.is_set():
        return limits.hung(output, bounds.timeout_s)
    if code:
        container.reload()
        if container.attrs["State"]["OOMKilled"]:
            _say_out_of_memory(output, bounds)
    return code


def _say_out_of_memory(output: IO[bytes], bounds: Limits) -> None:
    allowed = f", it may use {bounds.memory_bytes / 2**20:.0f} MiB" if bounds.memory_bytes else ""
    limits.say(
        output, f"it ran out of memory{allowed}; raise its memory_limit under 'resources', or give it less data."
    )


def _copy(printed: Iterable[bytes], output: IO[bytes]) -> None:
    with contextlib.suppress(ValueError, OSError):
        for chunk in printed:
            output.write(chunk)
            output.flush()
