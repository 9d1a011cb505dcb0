"""``training.json``: how the final training went, and how well its export agrees with it."""

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
    """The losses of each epoch, and which epoch's weights were kept."""

    FILE = "training.json"

    history: tuple[EpochLosses, ...]
    best_epoch: int
    best_loss: OptionalFloat
    duration_s: float
    parity: ExportParity
