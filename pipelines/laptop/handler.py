"""The adapter between kfp.local's orchestrator and our virtualenvs.

kfp.local looks its task handler and its cache up by attribute at every call; for the time of a run these two attributes
are ours. The handler runs the compiled command as it is, with the virtualenv of the task's image first on PATH. The
cache is kfp's own and only says when it hits, which kfp hides. A contract test holds this seam; kfp is pinned exactly.
"""

import builtins
import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipelines.environments import Environment
from pipelines.laptop.processes import ProcessGroups, task_environment


class Observer(Protocol):
    """Who wants to know how the tasks of a run fare."""

    def started(self, step: str, log: Path) -> None:
        """A task's process is about to start."""

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        """A task's process has ended."""

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        """A task was not run: its outputs were in the cache."""


def step_of(image: str) -> str:
    """Return the step of an image reference.

    >>> step_of("perennial/data-validation:0f3a")
    'data_validation'
    """
    return image.rpartition("/")[2].partition(":")[0].replace("-", "_")


@contextlib.contextmanager
def installed(
    environments: Mapping[str, Environment], groups: ProcessGroups, observer: Observer, logs: Path, scratch: Path
) -> Iterator[None]:
    """Let kfp.local run tasks in ``environments`` (by image reference) and tell ``observer``; then put all back."""
    from kfp.local import cache, logging_utils, status, subprocess_task_handler

    class Handler:
        """Run one task; the five arguments are kfp's."""

        def __init__(
            self, image: str, full_command: list[str], pipeline_root: str, runner: object, env_vars: dict[str, str]
        ) -> None:
            self.image, self.command, self.env_vars = image, full_command, env_vars

        def run(self) -> status.Status:
            """Run the compiled command verbatim and wait."""
            environment = environments[self.image]
            log = logs / f"{environment.name}.log"
            observer.started(environment.name, log)
            began = time.monotonic()
            folder = scratch / environment.name
            folder.mkdir(parents=True, exist_ok=True)
            env = task_environment(environment.python, environment.source, folder, os.environ) | self.env_vars
            with log.open("w", encoding="utf-8") as output:
                code = groups.run(self.command, env, folder, output)
            outputs = _outputs(self.command) if code == 0 else {}
            observer.finished(environment.name, code, time.monotonic() - began, outputs)
            return status.Status.SUCCESS if code == 0 else status.Status.FAILURE

    class Cache(cache.LocalCache):
        """kfp's cache, telling of its hits."""

        def compute_key(self, component_name: str, image: str, *args: Any, **kwargs: Any) -> str:
            key = super().compute_key(component_name, image, *args, **kwargs)
            self._images = getattr(self, "_images", {}) | {key: image}
            return key

        def get(self, key: str) -> dict[str, Any] | None:
            outputs = super().get(key)
            if outputs is not None:
                values = {name: getattr(value, "path", value) for name, value in outputs.items()}
                observer.cached(step_of(self._images[key]), values)
            return outputs

    replaced = (
        (subprocess_task_handler, "SubprocessTaskHandler", Handler),
        (cache, "LocalCache", Cache),
        # Its own progress and dumps of every input would bury ours.
        (logging_utils, "print_horizontal_line", lambda: None),
    )
    kept = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    root, printer = logging.getLogger(), builtins.print
    handlers, level = root.handlers[:], root.level
    for module, name, ours in replaced:
        setattr(module, name, ours)
    try:
        yield
    finally:
        for module, name, theirs in kept:
            setattr(module, name, theirs)
        builtins.print, root.handlers[:] = printer, handlers
        root.setLevel(level)
        cache.reset_local_cache_singleton()


def _outputs(command: list[str]) -> dict[str, Any]:
    """Read where a task wrote its artifacts, and what its parameters were."""
    declared = json.loads(command[command.index("--executor_input") + 1])["outputs"]
    outputs: dict[str, Any] = {
        name: value["artifacts"][0]["uri"] for name, value in declared.get("artifacts", {}).items()
    }
    written = Path(declared["outputFile"])
    if written.exists():
        outputs |= json.loads(written.read_text(encoding="utf-8")).get("parameterValues", {})
    return outputs
