"""Tuning with and without pruning on the same rows and points: epochs, seconds, best value.

``python -m pipelines.bench.tuning PROJECT_BUNDLE SPLITS FOLDER`` prints them as JSON; it runs in tuning's virtualenv.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from components.shared import bundle
from components.shared.documents.study import StudySummary
from components.shared.documents.trials import Trials
from components.tuning import logic

TRIALS = 20


def measure(bundled: str, splits: Path, folder: Path) -> dict[str, Any]:
    """Run one study per pruner with the same seed."""
    project = bundle.project(bundled)
    _study(project, splits, folder / "warm", "none", trials=1)
    return {pruner: _study(project, splits, folder / pruner, pruner) for pruner in ("none", "median", "hyperband")}


def _study(project: Any, splits: Path, folder: Path, pruner: str, trials: int = TRIALS) -> dict[str, float | None]:
    tuning = project.tuning.model_copy(update={"pruner": pruner, "trials": trials, "workers": 1, "timeout_s": None})
    began = time.perf_counter()
    logic.tune(project.model_copy(update={"tuning": tuning}), splits, 7, str(folder / "storage"), folder / "study")
    seconds = time.perf_counter() - began
    epochs = sum(len(trial.intermediate) for trial in Trials.read(folder / "study").trials)
    study = StudySummary.read(folder / "study")
    return {"seconds": seconds, "epochs": epochs, "pruned": study.pruned, "best": study.best_value}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
