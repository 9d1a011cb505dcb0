"""What an answer costs: time of one row on one thread, size of the export, memory of a process that serves it.

Measured in a separate process that imports little but ONNX Runtime: this one is full of training rows and threads.
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
    model = model.absolute()
    command = [sys.executable, "-s", "-m", probe.__name__, str(model / "model.onnx"), str(model / "model.json")]
    source = Path(probe.__file__).parents[2]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StepFailed(f"the model could not be loaded to measure its latency: {last}")
    return json.loads(done.stdout) | {"size_mib": (model / "model.onnx").stat().st_size / 2**20}
