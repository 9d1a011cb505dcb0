"""The objective of a trial: the validation loss of a model of one family with the trial's hyperparameters."""

from components.shared.learning import fitting, prepare
from components.shared.learning.trees import Boosting
from components.shared.project import Training
from components.tuning.task import Objective, Report, StudyTask

# Number of encodings to cache for later trials; each holds all rows.
_CACHED_ENCODINGS = 3


def objective(task: StudyTask) -> Objective:
    """Return the objective; it reads and prepares the rows once for all trials that can share them."""
    fitting.steady(task.seed)
    data = prepare.read(task.project, task.splits, max_rows=task.project.tuning.max_rows, seed=task.seed)
    return _of_trees(data, task) if task.family == "trees" else _of_networks(data, task.seed)


def _of_networks(data: prepare.RawData, seed: int) -> Objective:
    encoded: dict[int, prepare.EncodedData] = {}

    def loss(hyperparameters: Training, report: Report) -> float:
        if hyperparameters.bins not in encoded:
            if len(encoded) >= _CACHED_ENCODINGS:
                encoded.clear()
            encoded[hyperparameters.bins] = prepare.encode(data, hyperparameters)
        rows = encoded[hyperparameters.bins]
        return fitting.fit(
            rows.train, rows.validation, rows.encoding, data.target, hyperparameters, seed=seed, report=report
        ).best_loss

    return loss


def _of_trees(data: prepare.RawData, task: StudyTask) -> Objective:
    rows = prepare.for_trees(data, task.project.training)
    boosting = Boosting(rows.train, rows.validation, rows.numbers)

    def loss(hyperparameters: Training, report: Report) -> float:
        return boosting.fit(
            data.target, hyperparameters.trees, seed=task.seed, monotone=data.monotone, report=report
        ).best_loss

    return loss
