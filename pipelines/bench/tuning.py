"""Tuning with and without pruning on the same rows and points: epochs, seconds, best value.

``python -m pipelines.bench.tuning PROJECT_BUNDLE SPLITS FOLDER`` prints them as JSON; it runs in tuning's virtualenv.
"""

import functools
import json
import sys
from pathlib import Path
from typing import Any

from components.shared import bundle
from components.shared.documents.study import StudySummary
from components.shared.documents.trials import Trials
from components.shared.errors import StepFailed
from components.tuning import logic
from pipelines.bench import repeats

TRIALS = 20
PRUNERS = ("none", "median", "hyperband")


def measure(bundled: str, splits: Path, folder: Path) -> dict[str, Any]:
    """Run studies of every pruner with the same seed; the first turn has one trial only."""
    project = bundle.project(bundled)

    def search(pruner: str, turn: int) -> None:
        trials = TRIALS if turn else 1
        tuning = project.tuning.model_copy(update={"pruner": pruner, "trials": trials, "workers": 1, "timeout_s": None})
        where = folder / f"{pruner}-{turn}"
        logic.tune(project.model_copy(update={"tuning": tuning}), splits, 7, str(where / "storage"), where / "study")

    seconds = repeats.in_turns({pruner: functools.partial(search, pruner) for pruner in PRUNERS})
    return {pruner: {"seconds": seconds[pruner], **_found(folder, pruner)} for pruner in PRUNERS}


def _found(folder: Path, pruner: str) -> dict[str, Any]:
    """Return what the studies of a pruner came to.

    Raises:
        StepFailed: If they differ although their seed is the same.
    """
    studies = [folder / f"{pruner}-{turn}" / "study" for turn in range(1, repeats.TIMES + 1)]
    epochs = {sum(len(trial.intermediate) for trial in Trials.read(study).trials) for study in studies}
    best = {StudySummary.read(study).best_value for study in studies}
    if len(epochs) > 1 or len(best) > 1:
        raise StepFailed(f"searches with the pruner {pruner!r} and one seed took {epochs} epochs and found {best}.")
    return {"epochs": epochs.pop(), "best": best.pop()}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
