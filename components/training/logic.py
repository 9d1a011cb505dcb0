"""Fit the families of models, and pack the best one as the candidate and the plain one for comparison."""

import logging
from pathlib import Path

import numpy as np

from components.shared.documents.best_hyperparameters import BestHyperparameters
from components.shared.documents.model_facts import ModelFacts
from components.shared.learning import families, fitting, prepare
from components.shared.measures import conformal, value
from components.shared.project import Project
from components.training import package, parity
from components.training.families import start as families_start
from components.training.families.catalog import FAMILIES, candidate
from components.training.families.family import FittedModel
from components.training.families.start import Start

log = logging.getLogger(__name__)


def train(
    project: Project, splits: Path, study: Path, seed: int, out: Path, plain_out: Path, start: Path | None = None
) -> dict[str, str | float]:
    """Fit the families, choose the decision threshold, export, compare the exports, and write both packages.

    The candidate is the best of the project's families on the validation rows; see ``catalog.candidate``.

    Args:
        project: The use case.
        splits: Folder with ``train.parquet`` and ``validation.parquet``; test rows are not opened.
        study: Folder with ``best.json``, the hyperparameters that tuning chose.
        seed: Same seed, same rows, same hyperparameters: same weights.
        out: Where the candidate's package goes.
        plain_out: Where the plain model's package goes; the same model if it is the candidate.
        start: Folder with the champion's models, which is opened only if the project continues the champion.

    Returns:
        A few facts about the candidate, for the artifact's metadata.

    Raises:
        InputError: If the rows cannot train a model: no rows, one class, a column of another type.
        StepFailed: If no family could be fitted, or an export does not answer like the trained model.
    """
    fitting.steady(seed)
    tuned = BestHyperparameters.read(study)
    chosen = project.training.tuned("network", tuned.hyperparameters).tuned("trees", tuned.trees)
    prepared, champion = prepare.read(project, splits), None
    if project.retraining.continues and start is not None:
        champion = families_start.read(project, start, prepared, splits, seed)
        prepared = champion.applied_to(prepared)
    wanted, members, offered = families.fitted(project), families.members(project), families.offered(project)
    fitted: dict[str, FittedModel] = {}
    for name, fit in FAMILIES.items():
        if name in wanted:
            beside = {other: fitted[other] for other in fitted if other in members}
            fitted[name] = fit(prepared, chosen, seed, beside, champion)
    losses = {name: model.validation_loss for name, model in fitted.items()}
    best = candidate({name: model for name, model in fitted.items() if name in offered})
    log.info("%s is the candidate; validation losses %s", best, losses)
    _write(project, prepared, fitted[families.COMPARED], splits, seed, plain_out, losses, None)
    continued = champion if fitted[best].is_continued else None
    facts = _write(project, prepared, fitted[best], splits, seed, out, losses, continued)
    metadata: dict[str, str | float] = {
        "family": best,
        "weights_hash": facts.weights_hash,
        "epochs": len(fitted[best].progress.history),
        "best_epoch": fitted[best].progress.best_epoch,
        "validation_loss": float(np.round(losses[best], 6)),
    }
    return metadata if facts.threshold is None else metadata | {"threshold": facts.threshold}


def _write(
    project: Project,
    data: prepare.RawData,
    fitted: FittedModel,
    splits: Path,
    seed: int,
    out: Path,
    losses: dict[str, float],
    start: Start | None,
) -> ModelFacts:
    """Write one model's package."""
    scores = data.target.scores(fitted.validation_logits).astype(np.float32)
    threshold = None
    if project.task == "binary":
        threshold = value.best_threshold(scores, data.validation_labels == 1, project.value)
    truth = data.target.decode(data.validation_labels)
    regions = conformal.calibrate(project.task, scores, truth, slack=parity.tolerance(data.target))
    trained = package.Trained(project, seed, fitted, data.target, threshold, losses, regions, start)
    return package.write(trained, splits, parity.probe(data.train, fitted.learned.edges(), seed), out)
