"""Process groups that can't outlive the command: tasks and the endpoint that a run starts for itself."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from components.shared import telemetry
from pipelines.targets.laptop import watchdog

# Inherited settings that would let the command's own packages into a task.
# Without bytecode every import of a heavy library would compile it again.
_DROPPED = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "PYTHONBREAKPOINT", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip


def task_environment(python: Path, source: Path, scratch: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of a task: its image's virtualenv first, and only its own source.

    Args:
        python: The interpreter of the image's virtualenv.
        source: Immutable snapshot of the step's source.
        scratch: Folder for temporary files, removed after the run.
        inherited: The command's own environment.
    """
    kept = {name: value for name, value in inherited.items() if name not in _DROPPED}
    return kept | {
        "PATH": f"{python.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "PYTHONPATH": str(source),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONHASHSEED": "0",
        "TMPDIR": str(scratch),
        **telemetry.OFF,
    }


class ProcessGroups:
    """Starts processes in groups of their own and guarantees that none outlives the command.

    Use it as a context manager; on leaving, and on the command's death of any cause, every group still running
    is ended.
    """

    def __init__(self) -> None:
        self._groups: set[int] = set()
        self._lock = threading.Lock()
        self._watchdog: subprocess.Popen[str] | None = None

    def __enter__(self) -> "ProcessGroups":
        self._watchdog = subprocess.Popen(
            [sys.executable, "-I", "-S", watchdog.__file__], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_all()
        assert self._watchdog and self._watchdog.stdin
        self._watchdog.stdin.close()
        self._watchdog.wait()

    def run(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        output: IO[bytes],
        timeout_s: float | None = None,
    ) -> int:
        """Run a command to its end and return its exit code; an interrupt ends its whole group first.

        Raises:
            TimeoutError: If it did not end in time; its group has ended then.
        """
        return self.finish(self.start(command, env, cwd, output), timeout_s)

    def finish(self, process: "subprocess.Popen[bytes]", timeout_s: float | None = None) -> int:
        """Wait for a process that was started here, end what it left running, and return its exit code.

        Raises:
            TimeoutError: If it did not end in time; its group has ended then.
        """
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        finally:
            if process.poll() is None:
                # One that has ended counts as a living member of its group until it is waited for.
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(watchdog.GRACE_S)
            self.end(process.pid)

    def start(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        output: IO[bytes],
        passed: Sequence[int] = (),
    ) -> "subprocess.Popen[bytes]":
        """Start a command as the leader of a new process group that the watchdog knows.

        Args:
            command: The command.
            env: Its environment.
            cwd: Its working directory.
            output: What it writes to.
            passed: Descriptors that it inherits under the same numbers.
        """
        with self._lock:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                process_group=0,
                pass_fds=passed,
            )
            self._groups.add(process.pid)
            self._tell("+", process.pid)
        return process

    def end(self, group: int) -> None:
        """End one group; what a task leaves running ends with it."""
        with self._lock:
            if group not in self._groups:
                return
            self._groups.discard(group)
        watchdog.end({group})
        self._tell("-", group)

    def end_all(self) -> None:
        """End every group that still runs."""
        with self._lock:
            groups, self._groups = self._groups, set()
        watchdog.end(groups)

    def _tell(self, sign: str, group: int) -> None:
        assert self._watchdog and self._watchdog.stdin
        self._watchdog.stdin.write(f"{sign}{group}\n")
        self._watchdog.stdin.flush()
