"""Train one model with chosen hyperparameters and pack it for serving."""

import logging
from pathlib import Path

import numpy as np

from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.learning import fitting, network, prepare
from components.shared.measures import value
from components.shared.project import Project, Training
from components.training import package, parity

log = logging.getLogger(__name__)


def train(project: Project, splits: Path, study: Path, seed: int, out: Path) -> dict[str, str | float]:
    """Train, choose the decision threshold, export, compare the export, and write the package.

    Args:
        project: The use case.
        splits: Folder with ``train.parquet`` and ``validation.parquet``; test rows are not opened.
        study: Folder with ``best.json``, the hyperparameters that tuning chose.
        seed: Same seed, same rows, same hyperparameters: same weights.
        out: Where the model package goes.

    Returns:
        A few facts about the model, for the artifact's metadata.

    Raises:
        InputError: If the rows cannot train a model: no rows, one class, a column of another type.
        StepFailed: If the export does not answer like the trained model.
    """
    fitting.steady(seed)
    hyperparameters = BestHyperparameters.read(study).hyperparameters
    chosen = Training.model_validate(project.training.model_dump() | hyperparameters)
    prepared = prepare.read(project, splits)
    encoded = prepare.encode(prepared, chosen)
    fit = fitting.fit(encoded.train, encoded.validation, encoded.encoding, prepared.target, chosen, seed=seed)
    model = network.assemble(encoded.encoding, prepared.target, fit.network)
    trained = package.Trained(
        project, chosen, hyperparameters, seed, encoded.encoding, prepared.target, fit, model, threshold=None
    )
    if project.task == "binary":
        scores = trained.answer(prepared.validation.feed())
        cut = value.best_threshold(scores, prepared.validation_labels == 1, project.value)
        trained = package.Trained(**{**vars(trained), "threshold": cut})
    facts = package.write(trained, splits, parity.probe(prepared.train, encoded.encoding, seed), out)
    log.info("stopped after epoch %d of %d, best %d", len(fit.history), chosen.epochs, fit.best_epoch)
    metadata: dict[str, str | float] = {
        "weights_hash": facts.weights_hash,
        "epochs": len(fit.history),
        "best_epoch": fit.best_epoch,
        "validation_loss": float(np.round(fit.best_loss, 6)),
    }
    return metadata if facts.threshold is None else metadata | {"threshold": facts.threshold}
