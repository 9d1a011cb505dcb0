"""What an answer costs: time of one row on one thread, size of the export, memory of a process that serves it.

Measured in a process of its own, which imports nothing but ONNX Runtime: this one is full of training rows and threads.
"""

import json
import subprocess
import sys
from pathlib import Path

from components.evaluation import probe
from components.shared.documents.measurements import Cost
from components.shared.errors import StepFailed
from components.shared.package.model_package import MODEL
from components.shared.package.table_model import TableModel


def cost(package: TableModel) -> Cost:
    """Measure a model package: latency of one-row calls, size of the export, memory of a process that answered.

    Raises:
        StepFailed: If the model cannot be loaded and asked.
    """
    model, facts = package.folder.absolute() / MODEL, package.facts
    categories = [(facts.vocabulary.get(name) or ("",))[0] for name in facts.categorical]
    row = json.dumps({"numeric": len(facts.numeric), "categorical": categories})
    command = [sys.executable, "-s", "-m", probe.__name__, str(model)]
    source = Path(probe.__file__).parents[2]
    probed = subprocess.run(command, cwd=source, input=row, capture_output=True, text=True, timeout=120, check=False)
    if probed.returncode:
        last = (probed.stderr.strip().splitlines() or ["no message"])[-1]
        raise StepFailed(f"the model could not be loaded to measure its latency: {last}")
    return Cost(**json.loads(probed.stdout), size_mib=model.stat().st_size / 2**20)
