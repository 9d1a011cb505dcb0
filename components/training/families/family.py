"""The contract of a model family: fit prepared rows, and return a network that the package can export."""

from dataclasses import dataclass
from typing import Protocol

from components.shared.documents.model_facts import Hyperparameter
from components.shared.learning.encoding import Encoding
from components.shared.learning.fitting import Fit
from components.shared.learning.prepare import RawData
from components.shared.project import Training


@dataclass(frozen=True)
class FittedModel:
    """A fitted model of one family, with the preprocessing that it was fitted behind.

    ``validation_loss`` is the weighted log loss, or the squared error of the standardised label, of the weights that
    are exported; all families are compared by it.
    """

    family: str
    encoding: Encoding
    fit: Fit
    hyperparameters: dict[str, Hyperparameter]
    validation_loss: float
    description: str
    """One clause on what the model is, such as ``a network with the hidden layers 64,32``."""


class Family(Protocol):
    """Fit one model; the same rows, hyperparameters and seed give the same weights."""

    def __call__(self, data: RawData, hyperparameters: Training, seed: int) -> FittedModel:
        """Fit the training rows; the validation rows may choose when to stop and how much to regularise."""
