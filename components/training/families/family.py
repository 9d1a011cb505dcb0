"""The contract of a model family: fit prepared rows, and return a model that the package can export."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.model_facts import Hyperparameter
from components.shared.documents.preprocessing import Preprocessing
from components.shared.documents.training_history import EpochLosses
from components.shared.inputs.rows import Inputs
from components.shared.learning.encoding import Encoding
from components.shared.learning.onnx_graph import GraphBuilder
from components.shared.learning.prepare import RawData
from components.shared.project import Training
from components.training.families.start import Start


class Learned(Protocol):
    """What a family has learned, as a function of raw inputs."""

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return (rows, units): log-odds, the logits of the classes, or standardised values."""

    def nodes(self, builder: GraphBuilder) -> str:
        """Add the same function to an ONNX graph; return the name of its output."""

    def save(self, folder: Path, name: str) -> None:
        """Write the model in the format of its own library; the ending of the file is added to ``name``."""

    def preprocessing(self, family: str, name: str) -> dict[str, Preprocessing]:
        """Return what a later training needs beside the files of ``save``, by family."""

    def content(self) -> bytes:
        """Return all that was learned; equal models have equal bytes."""

    def edges(self) -> list[NDArray[np.float32]]:
        """Return, for each numeric feature, the values at which the function may jump or bend."""

    def is_additive(self) -> bool:
        """Return whether the function is a sum of one function per feature."""


@dataclass(frozen=True)
class Progress:
    """How a fit went, epoch by epoch; one without epochs has an empty history."""

    best_loss: float
    duration_s: float
    best_epoch: int = 0
    history: list[EpochLosses] = field(default_factory=list)


@dataclass(frozen=True)
class FittedModel:
    """A fitted model of one family.

    ``validation_logits`` is (rows, units), what the model answers to the validation rows. ``validation_losses`` is
    (rows,) the log loss, or squared error of the standardised label, of each of them by the weights of their classes;
    all families are compared by it.
    """

    family: str
    encoding: Encoding
    """Ranges and vocabulary of the training rows."""
    learned: Learned
    progress: Progress
    hyperparameters: dict[str, Hyperparameter]
    validation_logits: NDArray[np.float64]
    validation_losses: NDArray[np.float64]
    description: str
    """One clause on what the model is, such as ``a network with the hidden layers 64,32``."""
    origin: str = ""
    """One clause on a warm start: what was continued, or why nothing was; empty if none was asked for."""
    is_continued: bool = False
    """Whether it began with what the champion had learned."""

    @property
    def validation_loss(self) -> float:
        """Return the mean loss."""
        return float(self.validation_losses.mean())


class Family(Protocol):
    """Fit one model; the same rows, hyperparameters and seed give the same model."""

    def __call__(
        self,
        data: RawData,
        hyperparameters: Training,
        seed: int,
        fitted: Mapping[str, FittedModel],
        start: Start | None = None,
    ) -> FittedModel:
        """Fit the training rows; the validation rows may choose when to stop and how much to regularise.

        Args:
            data: Training and validation rows.
            hyperparameters: Those that the study chose.
            seed: Decides every random choice.
            fitted: The families that were fitted before, for a family that builds on them.
            start: The champion's models, one of which is continued if the family can; None fits from scratch.
        """
