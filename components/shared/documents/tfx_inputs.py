"""``tfx_inputs.json``: what TFX's pipeline of a project was made from, beside the examples and the schema."""

from typing import Literal

from components.shared.documents.document import Document
from components.shared.project import Project, Training


class TfxInputs(Document):
    """A project, its hyperparameters, and how its label is encoded."""

    FILE = "tfx_inputs.json"

    project: Project
    """The project file with all defaults."""
    hyperparameters: Training
    """The section ``training`` of the project, with what tuning chose."""
    seed: int
    task: Literal["binary", "multiclass", "regression"]
    classes: tuple[str, ...] | None
    """Negative and positive class, all classes, or None for a regression; an example holds the number of its class."""
    mean: float
    scale: float
    """Mean and scale by which a regression's label is standardised; the examples hold the value itself."""
    baseline: float
    """What a model without features reaches on the training rows: the area under the ROC curve of a guess (binary), the
    accuracy of the most frequent class (multiclass), the mean squared error of the mean (regression)."""
