"""``model.json``: what a model package says about its model; the server's signature, and the card's facts."""

from typing import Literal

from components.shared.documents.document import Document, Part, Task

Hyperparameter = bool | int | float | str | None


class FeatureFacts(Part):
    """One input of the model, and whether a request may leave it empty."""

    name: str
    type: Literal["numeric", "categorical", "boolean"]
    missing: bool


class LearnedRows(Part):
    """How many rows the model was trained and stopped on."""

    train: int
    validation: int


class RequestLimits(Part):
    """The largest request that the server answers."""

    request_rows: int
    request_mib: float


class ConformalGroup(Part):
    """How badly the labels of some validation rows fit the model's answers: a few of the sorted values.

    A value is the absolute error in the label's unit, or one minus the probability of the true class.
    """

    rows: int
    """Validation rows in the group."""
    ranks: tuple[int, ...]
    """Ranks of the values that are kept, from 1 for the smallest."""
    scores: tuple[float, ...]
    """The values of these ranks."""


class ConformalScores(Part):
    """What intervals and sets are made from; see ``measures.conformal``."""

    edges: tuple[float, ...]
    """Between which answers one group ends and the next begins; empty where all rows are one group."""
    groups: tuple[ConformalGroup, ...]
    """The groups, those with the smallest answers first."""


class ModelFacts(Document):
    """What a trained model is: its question, its inputs, and what it was made from."""

    FILE = "model.json"

    name: str
    task: Task
    label: str
    entity: str
    event_time: str
    classes: tuple[str, ...] | None
    """The answers: negative first for a binary task; None for a regression."""
    positive: str | None
    threshold: float | None
    """Scores at or above it are acted on (binary only)."""
    features: tuple[FeatureFacts, ...]
    numeric: tuple[str, ...]
    """Features of the tensor ``numeric``, in the order of its columns; booleans are numbers."""
    categorical: tuple[str, ...]
    """Features of the tensor ``categorical``, in the order of its columns."""
    vocabulary: dict[str, tuple[str, ...]]
    """Categorical feature to the values that training knew."""
    ranges: dict[str, tuple[float, float]]
    """Numeric feature to the lowest and highest value in training."""
    family: str = "network"
    """Family of the model; older packages hold networks."""
    description: str = ""
    """One clause on what the model is; empty in older packages."""
    is_additive: bool = False
    """Whether the margin is a sum of one function per feature; unknown of older packages."""
    hyperparameters: dict[str, Hyperparameter]
    seed: int
    weights_hash: str
    rows: LearnedRows
    limits: RequestLimits
    tolerance: float
    """How far the server's score of a sample row may be from the trained model's."""
    conformal: ConformalScores | None = None
    """Of the validation rows; None in older packages, which have no intervals."""
