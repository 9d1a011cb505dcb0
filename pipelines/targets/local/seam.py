"""The adapter between kfp.local's orchestrator and the runtime in which tasks run.

kfp.local looks up by attribute, at every call, who runs a task and who remembers it; for the time of a run these
attributes are ours. A task's compiled command runs as it is. The cache is kfp's own and only says when it hits, which
kfp hides. A contract test holds this seam; kfp is pinned exactly.
"""

import builtins
import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

from pipelines.targets.local import planned
from pipelines.targets.local.planned import PlannedTask


class TaskObserver(Protocol):
    """Receives what happens to the tasks of a run."""

    def started(self, step: str, log: Path) -> None:
        """A task is about to start."""

    def finished(self, step: str, exit_code: int, seconds: float, outputs: dict[str, Any]) -> None:
        """A task has ended."""

    def cached(self, step: str, outputs: dict[str, Any]) -> None:
        """A task was not run: its outputs were in the cache."""


Start = Callable[[str, Path, IO[bytes]], int]
"""Runs one task: its step, a scratch folder of its own, its log; returns the exit code."""

Perform = Callable[[str, Sequence[str], Start], int]
"""Runs one task and tells the observer: its image reference, its command, who starts it; returns the exit code."""


@dataclass(frozen=True)
class Seam:
    """What kfp.local uses during a run: its runner, and the replacements for some of its attributes."""

    runner: Any
    replaced: tuple[tuple[ModuleType, str, Any], ...]


class Tasks(Protocol):
    """What runs the tasks of one run."""

    def seam(self, perform: Perform, planned: Sequence[PlannedTask]) -> Seam:
        """Return the seam that brings each of kfp's tasks to ``perform``; ``planned`` says which may come."""


@contextlib.contextmanager
def installed(
    tasks: Tasks,
    ir: Mapping[str, Any],
    references: Mapping[str, str],
    observer: TaskObserver,
    logs: Path,
    scratch: Path,
) -> Iterator[Any]:
    """Let kfp.local run its tasks in ``tasks`` and tell ``observer``; then put all back. Yields kfp's runner."""
    from kfp.local import cache, logging_utils

    steps = {reference: step for step, reference in references.items()}

    def perform(image: str, command: Sequence[str], start: Start) -> int:
        step = steps[image]
        log = logs / f"{step}.log"
        observer.started(step, log)
        began = time.monotonic()
        folder = scratch / step
        folder.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            code = start(step, folder, output)
        outputs = _outputs(command) if code == 0 else {}
        observer.finished(step, code, time.monotonic() - began, outputs)
        return code

    class Cache(cache.LocalCache):
        """kfp's cache, telling of its hits."""

        def compute_key(self, component_name: str, image: str, *args: Any, **kwargs: Any) -> str:
            key: str = super().compute_key(component_name, image, *args, **kwargs)
            self._images = getattr(self, "_images", {}) | {key: image}
            return key

        def get(self, key: str) -> dict[str, Any] | None:
            outputs: dict[str, Any] | None = super().get(key)
            if outputs is not None:
                values = {name: getattr(value, "path", value) for name, value in outputs.items()}
                observer.cached(steps[self._images[key]], values)
            return outputs

    ours = tasks.seam(perform, planned.tasks(ir, references, scratch))
    replaced = (
        *ours.replaced,
        (cache, "LocalCache", Cache),
        # Its own progress and dumps of every input would bury ours.
        (logging_utils, "print_horizontal_line", lambda: None),
    )
    originals = [(module, name, getattr(module, name)) for module, name, _ in replaced]
    root, printer = logging.getLogger(), builtins.print
    handlers, level = root.handlers[:], root.level
    for module, name, value in replaced:
        setattr(module, name, value)
    try:
        yield ours.runner
    finally:
        for module, name, theirs in originals:
            setattr(module, name, theirs)
        builtins.print, root.handlers[:] = printer, handlers
        root.setLevel(level)
        cache.reset_local_cache_singleton()


def _outputs(command: Sequence[str]) -> dict[str, Any]:
    """Read where a task wrote its artifacts, and what its parameters were."""
    declared = json.loads(command[command.index("--executor_input") + 1])["outputs"]
    outputs: dict[str, Any] = {
        name: value["artifacts"][0]["uri"] for name, value in declared.get("artifacts", {}).items()
    }
    written = Path(declared["outputFile"])
    if written.exists():
        outputs |= json.loads(written.read_text(encoding="utf-8")).get("parameterValues", {})
    return outputs
