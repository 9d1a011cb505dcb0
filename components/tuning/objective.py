"""What a trial is judged by: the validation loss of the network that its hyperparameters make."""

from components.shared.learning import fitting, prepare
from components.shared.project import Training
from components.tuning.task import Objective, Report, StudyTask

# Encodings that are kept for later trials; each holds all rows.
_KEPT = 3


def objective(task: StudyTask) -> Objective:
    """Read the rows once for this process; trials with the same preprocessing share the encoded rows."""
    fitting.steady(task.seed)
    known = prepare.read(task.project, task.splits, most_rows=task.project.tuning.max_rows, seed=task.seed)
    encoded: dict[int, prepare.EncodedData] = {}

    def loss(chosen: Training, report: Report) -> float:
        if chosen.bins not in encoded:
            if len(encoded) >= _KEPT:
                encoded.clear()
            encoded[chosen.bins] = prepare.encode(known, chosen)
        rows = encoded[chosen.bins]
        return fitting.fit(
            rows.train, rows.validation, rows.encoding, known.target, chosen, seed=task.seed, report=report
        ).best_loss

    return loss
