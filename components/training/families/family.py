"""The contract of a model family: fit prepared rows, and return a network that the package can export."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.model_facts import Hyperparameter
from components.shared.learning.encoding import Encoding
from components.shared.learning.fitting import Fit
from components.shared.learning.prepare import RawData
from components.shared.project import Training


@dataclass(frozen=True)
class FittedModel:
    """A fitted model of one family, with the preprocessing that it was fitted behind.

    ``validation_losses`` is (rows,) the weighted log loss, or squared error of the standardised label, of each
    validation row by the weights that are exported; all families are compared by it.
    """

    family: str
    encoding: Encoding
    fit: Fit
    hyperparameters: dict[str, Hyperparameter]
    validation_losses: NDArray[np.float64]
    description: str
    """One clause on what the model is, such as ``a network with the hidden layers 64,32``."""

    @property
    def validation_loss(self) -> float:
        """Return the mean loss."""
        return float(self.validation_losses.mean())


class Family(Protocol):
    """Fit one model; the same rows, hyperparameters and seed give the same weights."""

    def __call__(self, data: RawData, hyperparameters: Training, seed: int) -> FittedModel:
        """Fit the training rows; the validation rows may choose when to stop and how much to regularise."""
