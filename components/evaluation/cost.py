"""What an answer costs: time of one row on one thread, size of the export, memory of a process that serves it.

Measured in a process of its own, which imports nothing but ONNX Runtime: this one is full of training rows and threads.
"""

import json
import subprocess
import sys
from pathlib import Path

from components.evaluation import probe
from components.shared.errors import StepFailed


def cost(model: Path) -> dict[str, float]:
    """Measure a model package; milliseconds and MiB.

    Returns:
        ``latency_ms_p50`` and ``latency_ms_p99`` of one-row calls, ``size_mib`` of the exported model, ``memory_mib``:
        the largest resident size of a process that loaded it and answered.
    """
    command = [sys.executable, "-I", probe.__file__, str(model / "model.onnx"), str(model / "model.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StepFailed(f"the model could not be loaded to measure its latency: {last}")
    return json.loads(done.stdout) | {"size_mib": (model / "model.onnx").stat().st_size / 2**20}
