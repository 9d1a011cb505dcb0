"""Peak memory of every step's process, as the laptop target runs it, on a generated table of each size.

``python -m pipelines.bench.memory ROWS [ROWS ...] FOLDER`` prints MiB by step and number of rows as JSON; it runs in
the command's virtualenv. Steps whose process ends within a poll are left out.
"""

import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from components.shared import polling
from components.shared.errors import ExitCode, StepFailed
from pipelines.bench import large_table

_POLL_S = 0.02
PIPELINES = ("training", "batch-scoring")

Peaks = dict[str, dict[int, float]]
"""Step to number of rows to MiB."""


class _Process(NamedTuple):
    """A process of a step; the time when it was created distinguishes it from a later one with its number."""

    step: str
    pid: int
    created: float


def measure(sizes: Sequence[int], folder: Path) -> Peaks:
    """Run the pipelines on a table of each size, the smallest first.

    Raises:
        StepFailed: If a run neither released a model nor ended at the gate.
    """
    peaks: Peaks = defaultdict(dict)
    for rows in sorted(sizes):
        project = large_table.write(folder / str(rows), rows).parent
        for pipeline in PIPELINES:
            for step, mib in run(project, pipeline).items():
                peaks[f"{pipeline}: {step}"][rows] = mib
    return dict(peaks)


def run(project: Path, pipeline: str) -> dict[str, float]:
    """Run a pipeline and return the peak memory of each step, in MiB.

    Of a step with several processes it is the sum of their peaks, which counts shared pages more than once.

    Raises:
        StepFailed: If the run neither released a model nor ended at the gate.
    """
    command = [str(Path(sys.executable).parent / "perennial"), "run", "--pipeline", pipeline]
    command += ["--set", "interpreters_ahead=0"]  # One that waits belongs to no step yet.
    peaks: dict[_Process, int] = {}
    with (project / f"{pipeline}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=project, stdout=log, stderr=subprocess.STDOUT)

        def note() -> bool:
            for worker, kib in step_processes(process.pid):
                peaks[worker] = max(kib, peaks.get(worker, 0))
            return process.poll() is not None

        polling.within(note, float("inf"), _POLL_S)
    if process.returncode not in (ExitCode.OK, ExitCode.REJECTED):
        end = (project / f"{pipeline}.log").read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise StepFailed(f"the pipeline {pipeline!r} ended with exit code {process.returncode}: {end}")
    by_step: dict[str, float] = defaultdict(float)
    for worker, kib in peaks.items():
        by_step[worker.step] += kib / 1024
    return dict(by_step)


def slope(mib: Mapping[int, float]) -> float:
    """Return the MiB that a million further rows take: the least-squares line through the peaks.

    >>> slope({1_000_000: 500.0, 3_000_000: 700.0})
    100.0
    """
    mean_rows, mean_mib = sum(mib) / len(mib), sum(mib.values()) / len(mib)
    spread = sum((rows - mean_rows) ** 2 for rows in mib)
    return 1e6 * sum((rows - mean_rows) * (peak - mean_mib) for rows, peak in mib.items()) / spread if spread else 0.0


def step_processes(pid: int) -> Iterator[tuple[_Process, int]]:
    """Yield the processes of steps below a process, with the most memory that each had so far, in KiB."""
    groups: dict[int, str] = {}
    try:
        below = psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    for process in below:
        try:
            step = groups.get(process.ppid()) or _named(process.cmdline())
            if step is None:
                continue
            groups[process.pid] = step
            yield _Process(step, process.pid, process.create_time()), _high_water_kib(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
            continue  # It ended while it was looked at.


def _named(arguments: Sequence[str]) -> str | None:
    """Return the step that a process was started for."""
    if "--function_to_execute" not in arguments:
        return None
    return arguments[list(arguments).index("--function_to_execute") + 1]


def _high_water_kib(pid: int) -> int:
    """Return the largest resident set that the system has noted for a process since it began its program."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    line = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(line.group(1)) if line else 0


if __name__ == "__main__":
    *sizes, folder = sys.argv[1:]
    print(json.dumps(measure([int(size) for size in sizes], Path(folder))))
