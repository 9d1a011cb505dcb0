"""Start the interpreters of the next steps early, so that they import their libraries while the step before works.

An interpreter starts with the environment, folder and process group that its task will have, and is used for no other
task. One that died, or was started for something else, is replaced by a new process, as without this module.
"""

import contextlib
import json
import logging
import re
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from pipelines.images import closure
from pipelines.targets.laptop import waiting
from pipelines.targets.laptop.processes import ProcessGroups
from pipelines.targets.local.planned import PlannedTask

logger = logging.getLogger(__name__)

AT_MOST = 2
"""Two, because a step like the gate ends sooner than the next one can import its libraries."""
# An interpreter with TensorFlow takes half a GiB; the step that works now may need the rest.
MIN_AVAILABLE_BYTES = 2 * 2**30
_SCRIPT = (
    'program_path=$(mktemp -d) printf "%s" "$0" > "$program_path/ephemeral_component.py" _KFP_RUNTIME=true '
    'python3 -m kfp.dsl.executor_main --component_module_path "$program_path/ephemeral_component.py" "$@"'
)


@dataclass(frozen=True)
class Launch:
    """How the process of a task starts."""

    python: Path
    source: Path
    env: Mapping[str, str]
    folder: Path


@dataclass(frozen=True)
class _Waiting:
    """An interpreter without a task yet."""

    task: PlannedTask
    launch: Launch
    process: "subprocess.Popen[bytes]"
    connection: socket.socket

    def begin(self, code: str, arguments: Sequence[str], log: IO[bytes], timeout_s: float | None) -> bool:
        """Hand over the task; False if the interpreter has died before it began.

        Raises:
            TimeoutError: If it did not begin in time.
        """
        self.connection.settimeout(timeout_s)
        try:
            with self.connection:
                socket.send_fds(self.connection, [waiting.BEGUN], [log.fileno()])
                self.connection.sendall(json.dumps({"code": code, "arguments": arguments}).encode())
                self.connection.shutdown(socket.SHUT_WR)
                return self.connection.recv(1) == waiting.BEGUN
        except ConnectionError:
            return False

    def end(self, groups: ProcessGroups) -> None:
        """End an interpreter that is not needed."""
        self.connection.close()
        self.process.kill()
        self.process.wait()
        groups.end(self.process.pid)


class InterpretersAhead:
    """The interpreters that wait for their task; use it as a context manager, which ends those that are left."""

    def __init__(
        self, groups: ProcessGroups, at_most: int = AT_MOST, min_available_bytes: int = MIN_AVAILABLE_BYTES
    ) -> None:
        """Keep interpreters waiting.

        Args:
            groups: Starts and ends them.
            at_most: How many may wait at a time; 0 starts each process when its task comes.
            min_available_bytes: With less memory available on this machine none is started.
        """
        self._groups = groups
        self._at_most = at_most
        self._min_available_bytes = min_available_bytes
        self._planned: list[PlannedTask] = []
        self._launch: Callable[[PlannedTask], Launch] | None = None
        self._begun: set[str] = set()
        self._waiting: list[_Waiting] = []
        # kfp runs the tasks of a loop in threads.
        self._lock = threading.Lock()

    def __enter__(self) -> "InterpretersAhead":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            for interpreter in self._waiting:
                interpreter.end(self._groups)
            self._waiting, self._planned = [], []

    def expect(self, planned: Sequence[PlannedTask], launch: Callable[[PlannedTask], Launch]) -> None:
        """Learn which tasks may come, in order, and how the process of one starts."""
        self._planned, self._launch = list(planned), launch

    def start(
        self, step: str, command: Sequence[str], launch: Launch, log: IO[bytes], timeout_s: float | None = None
    ) -> "subprocess.Popen[bytes] | None":
        """Hand a task to the interpreter that waits for it, and start those of the tasks that may follow.

        Args:
            step: The task's step.
            command: Its compiled command.
            launch: How its process would start.
            log: Where it writes.
            timeout_s: The longest that the interpreter may take to begin.

        Returns:
            The process that runs the task; None where no interpreter can, and the command is to be started.

        Raises:
            TimeoutError: If the interpreter did not begin in time; it has ended then.
        """
        task = component(command)
        if task is None:
            return None
        code, arguments = task
        with self._lock:
            interpreter = self._take(step, launch)
            try:
                self._follow(step, code)
            except OSError as error:
                # What only saves time fails no task.
                logger.warning("no interpreter was started ahead: %s", error)
        if interpreter is None:
            return None
        begun = False
        try:
            begun = interpreter.begin(code, arguments, log, timeout_s)
        finally:
            if not begun:
                interpreter.end(self._groups)
        return interpreter.process if begun else None

    def _take(self, step: str, launch: Launch) -> _Waiting | None:
        """Return the interpreter of a step if it was started as its task would be; end it otherwise."""
        interpreter = next((waits for waits in self._waiting if waits.task.step == step), None)
        if interpreter is None:
            return None
        self._waiting.remove(interpreter)
        if interpreter.launch == launch:
            return interpreter
        interpreter.end(self._groups)
        return None

    def _follow(self, step: str, code: str) -> None:
        """Note that a task begins, and start interpreters for those that wait for it.

        A task that waits for none that has run in this run may come from the cache, so nothing is started for it.
        """
        begun = next((task for task in self._planned if (task.step, task.code) == (step, code)), None)
        if begun is None:
            return
        self._planned.remove(begun)
        self._begun.add(begun.name)
        for task in [task for task in self._planned if task.after & self._begun]:
            if len(self._waiting) >= self._at_most:
                return
            if psutil.virtual_memory().available < self._min_available_bytes:
                return
            if all(waits.task.step != task.step for waits in self._waiting):
                self._waiting.append(self._started(task))

    def _started(self, task: PlannedTask) -> _Waiting:
        assert self._launch
        launch = self._launch(task)
        launch.folder.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with contextlib.closing(theirs), tempfile.TemporaryFile(dir=launch.folder) as output:
            process = self._groups.start(
                [str(launch.python), waiting.__file__, str(theirs.fileno()), *modules(task, launch.source)],
                # What the command's shell would set.
                {**launch.env, "_KFP_RUNTIME": "true", "PWD": str(launch.folder)},
                launch.folder,
                output,
                (theirs.fileno(),),
            )
        return _Waiting(task, launch, process, ours)


def modules(task: PlannedTask, source: Path) -> list[str]:
    """Return the modules that a component imports, and those of its step's own folder, some of which come late."""
    folder = source / "components" / task.step
    own = (path.relative_to(source).with_suffix("") for path in sorted(folder.rglob("*.py")))
    return [*closure.imported_by_code(task.code, source), *(".".join(path.parts) for path in own)]


def component(command: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    """Return code and arguments of a lightweight component's command; None for any other command."""
    match command:
        case ["sh", "-ec", script, code, *arguments] if re.sub(r"\s+", " ", script).strip() == _SCRIPT:
            return code, arguments
    return None
