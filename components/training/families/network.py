"""The network: wide and deep, with the hyperparameters that the study chose, stopped early on the validation rows."""

import logging
from collections.abc import Mapping

from components.shared.learning import fitting, prepare
from components.shared.project import TUNABLE, Training
from components.training.families import network_start, replayed
from components.training.families.family import FittedModel, Progress
from components.training.families.learned_network import LearnedNetwork
from components.training.families.start import Start

_log = logging.getLogger(__name__)


def fit(
    data: prepare.RawData,
    hyperparameters: Training,
    seed: int,
    fitted: Mapping[str, FittedModel],
    start: Start | None = None,
) -> FittedModel:
    """Train until the validation loss stops falling, and keep the weights of the best epoch."""
    began = network_start.load(start, data.target, hyperparameters)
    hyperparameters = began.hyperparameters
    data = replayed.taken(data, began.rows)
    encoded = prepare.encode(data, hyperparameters, began.encoding)
    trained = fitting.fit(
        encoded.train,
        encoded.validation,
        encoded.encoding,
        data.target,
        hyperparameters,
        seed=seed,
        start=began.weights,
    )
    _log.info("stopped after epoch %d of %d, best %d", len(trained.history), hyperparameters.epochs, trained.best_epoch)
    layers = "no hidden layer" if hyperparameters.hidden == "none" else f"the hidden layers {hyperparameters.hidden}"
    logits = fitting.logits(trained.network, encoded.validation.encoded, encoded.validation.expand)
    weights = encoded.validation.weights
    return FittedModel(
        family="network",
        encoding=encoded.encoding,
        learned=LearnedNetwork(encoded.encoding, data.target, trained.network),
        progress=Progress(trained.best_loss, trained.duration_s, trained.best_epoch, trained.history),
        hyperparameters={name: getattr(hyperparameters, name) for name in TUNABLE["network"]},
        validation_logits=logits,
        validation_losses=data.target.losses(logits, data.validation_labels) * weights / weights.mean(),
        description=f"a network with {layers}, trained on {len(encoded.train):,} rows",
        origin=began.origin(trained.best_epoch),
        is_continued=began.weights is not None,
    )
