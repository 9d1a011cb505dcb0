"""The objective of a trial: the validation loss of a network with the trial's hyperparameters."""

from components.shared.learning import fitting, prepare
from components.shared.project import Training
from components.tuning.task import Objective, Report, StudyTask

# Number of encodings to cache for later trials; each holds all rows.
_CACHED_ENCODINGS = 3


def objective(task: StudyTask) -> Objective:
    """Return the objective; it reads the rows once, and trials with equal preprocessing share the encoded rows."""
    fitting.steady(task.seed)
    data = prepare.read(task.project, task.splits, max_rows=task.project.tuning.max_rows, seed=task.seed)
    encoded: dict[int, prepare.EncodedData] = {}

    def loss(hyperparameters: Training, report: Report) -> float:
        if hyperparameters.bins not in encoded:
            if len(encoded) >= _CACHED_ENCODINGS:
                encoded.clear()
            encoded[hyperparameters.bins] = prepare.encode(data, hyperparameters)
        rows = encoded[hyperparameters.bins]
        return fitting.fit(
            rows.train, rows.validation, rows.encoding, data.target, hyperparameters, seed=task.seed, report=report
        ).best_loss

    return loss
