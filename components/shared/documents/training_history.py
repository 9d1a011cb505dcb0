"""``training.json``: how the final training went, and how well its export agrees with it."""

from pydantic import Field

from components.shared.documents.document import Document, OptionalFloat, Part


class EpochLosses(Part):
    """The losses after one epoch, counted from 1."""

    epoch: int
    train_loss: OptionalFloat
    validation_loss: OptionalFloat


class ExportParity(Part):
    """The largest difference of a score between the export and the trained model, over ``rows`` rows."""

    max_abs_error: float
    rows: int


class TrainingHistory(Document):
    """The losses of each epoch (none for a plain model), which epoch's weights were kept, and the other families."""

    FILE = "training.json"

    history: tuple[EpochLosses, ...]
    best_epoch: int
    best_loss: OptionalFloat
    duration_s: float
    parity: ExportParity
    families: dict[str, OptionalFloat] = Field(default_factory=dict)
    """Validation loss of each family that was fitted; empty in older documents."""
