"""The network: wide and deep, with the hyperparameters that the study chose, stopped early on the validation rows."""

import logging

from components.shared.learning import fitting, prepare
from components.shared.project import TUNABLE, Training
from components.training.families.family import FittedModel

_log = logging.getLogger(__name__)


def fit(data: prepare.RawData, hyperparameters: Training, seed: int) -> FittedModel:
    """Train until the validation loss stops falling, and keep the weights of the best epoch."""
    encoded = prepare.encode(data, hyperparameters)
    trained = fitting.fit(encoded.train, encoded.validation, encoded.encoding, data.target, hyperparameters, seed=seed)
    _log.info("stopped after epoch %d of %d, best %d", len(trained.history), hyperparameters.epochs, trained.best_epoch)
    layers = "no hidden layer" if hyperparameters.hidden == "none" else f"the hidden layers {hyperparameters.hidden}"
    return FittedModel(
        family="network",
        encoding=encoded.encoding,
        fit=trained,
        hyperparameters={name: getattr(hyperparameters, name) for name in TUNABLE},
        validation_losses=fitting.row_losses(trained.network, encoded.validation, data.target),
        description=f"a network with {layers}, trained on {len(encoded.train):,} rows",
    )
