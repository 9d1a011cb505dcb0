"""Seconds until a server is ready, and the memory that it takes then."""

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipelines.bench import serving

_TIMES = 3


@dataclass(frozen=True)
class Started:
    """The median over a few starts."""

    ready_s: float
    rss_mib: float


def measure(python: Path, package: Path) -> dict[str, Started]:
    """Start each server a few times.

    Args:
        python: Interpreter of the virtualenv of ``serving``, with FastAPI.
        package: A model package.
    """
    return {name: _start(python, name, package) for name in (serving.LOGGED, serving.BARE, serving.KSERVE)}


def _start(python: Path, name: str, package: Path) -> Started:
    ready_s, rss_mib = [], []
    # The first start reads files that are not in the machine's memory yet.
    for _ in range(_TIMES + 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            server = serving.start(python, name, package, Path(folder))
            try:
                serving.await_server(server)
                ready_s.append(time.perf_counter() - began)
                rss_mib.append(psutil.Process(server.process.pid).memory_info().rss / 2**20)
            finally:
                server.process.terminate()
                server.process.wait(30)
    return Started(statistics.median(ready_s[1:]), statistics.median(rss_mib[1:]))
