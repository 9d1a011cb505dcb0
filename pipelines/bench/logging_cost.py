"""CPU time per request of the model server with the inference log on, as a share of that without.

Both run side by side and are asked in turns, so that what else the machine does hits both alike.
"""

import statistics
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.bench import serving


@dataclass(frozen=True)
class LoggingCost:
    """One load: CPU time per request without the log, and the ratio with it (median over the rounds)."""

    rows: int
    connections: int
    cpu_us: float
    ratio: float


def measure(python: Path, package: Path, *, rounds: int = 7, seconds: float = 1.0) -> list[LoggingCost]:
    """Measure every load.

    Args:
        python: Interpreter of the virtualenv of ``serving``.
        package: A model package.
        rounds: Turns per load; the median of the rounds' ratios counts.
        seconds: Length of one server's turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        options: list[list[str | Path]] = [[], ["--log-dir", Path(folder)]]
        ports = [serving.free_port() for _ in options]
        processes = [
            subprocess.Popen([python, *serving.server(package, port), *more], cwd=serving.ROOT)
            for port, more in zip(ports, options, strict=True)
        ]
        try:
            for port, process in zip(ports, processes, strict=True):
                serving.await_server(port, process)
            return [_measure(ports, processes, package, load, rounds, seconds) for load in serving.LOADS]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)


def _measure(
    ports: list[int],
    processes: list[subprocess.Popen[bytes]],
    package: Path,
    load: tuple[int, int],
    rounds: int,
    seconds: float,
) -> LoggingCost:
    rows, connections = load
    request = serving.request(package, rows)
    for port in ports:
        serving.requests_per_s(port, request, connections, seconds / 4)
    pairs = [
        [_cpu_s(process, port, request, connections, seconds) for port, process in zip(ports, processes, strict=True)]
        for _ in range(rounds)
    ]
    return LoggingCost(
        rows,
        connections,
        statistics.median(without for without, _ in pairs) * 1e6,
        statistics.median(logged / without for without, logged in pairs),
    )


def _cpu_s(process: subprocess.Popen[bytes], port: int, request: bytes, connections: int, seconds: float) -> float:
    """Return the CPU time of one request in seconds."""
    before = psutil.Process(process.pid).cpu_times()
    answered = serving.requests_per_s(port, request, connections, seconds) * seconds
    after = psutil.Process(process.pid).cpu_times()
    return (after.user + after.system - before.user - before.system) / answered
