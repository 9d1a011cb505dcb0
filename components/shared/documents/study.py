"""``study.json``: how the search for hyperparameters went."""

from typing import Literal

from components.shared.documents.document import Document, OptionalFloat


class StudySummary(Document):
    """Counts of the trials of all families, and the best value that they reached."""

    FILE = "study.json"

    sampler: str
    pruner: str
    trials: int
    complete: int
    pruned: int
    failed: int
    resumed: int
    """Trials that an earlier run had finished."""
    best_value: OptionalFloat
    metric: str
    direction: Literal["minimize", "maximize"]
    importance: dict[str, float] | None
    """Hyperparameter of the best family, as in ``BestHyperparameters.named``, to its share in being among the best;
    None where too few trials were finished."""
