"""Run as a module: load one exported model, score one row many times, print latency and memory as JSON.

The row comes as JSON on standard input: how many numbers it has (all of them zero) and its categories. Its
values hardly change the time of a call.
"""

import gc
import json
import sys
import time
from pathlib import Path

import numpy as np

from components.shared.package.session import OUTPUT, open_session

_WARM_UP = 50
_CALLS = 1_000
_SECONDS = 2.0


def main(model: str, numbers: int, categories: list[str]) -> None:
    """Measure and print."""
    session = open_session(Path(model))
    row: dict[str, np.ndarray] = {}
    if numbers:
        row["numeric"] = np.zeros((1, numbers), np.float32)
    if categories:
        row["categorical"] = np.array([categories], dtype=object)
    for _ in range(_WARM_UP):
        session.run([OUTPUT], row)
    gc.disable()
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(taken) < _CALLS and time.perf_counter() < end:
        start = time.perf_counter()
        session.run([OUTPUT], row)
        taken.append(1000 * (time.perf_counter() - start))
    p50, p99 = np.quantile(taken, [0.5, 0.99])
    print(json.dumps({"latency_ms_p50": float(p50), "latency_ms_p99": float(p99), "memory_mib": _peak_mib()}))


def _peak_mib() -> float:
    """Largest resident size. Not getrusage: its maximum is inherited from the process that started this one."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    request = json.load(sys.stdin)
    main(sys.argv[1], request["numeric"], request["categorical"])
