"""``trials.json``: every trial of the search for hyperparameters."""

from typing import Any, Literal

from components.shared.documents.document import Document, OptionalFloat, Part
from components.shared.documents.model_facts import Hyperparameter

TrialEnd = Literal["complete", "pruned", "fail", "running", "waiting"]


class TrialOutcome(Part):
    """One trial: its family and point, the validation loss of each step, and how it ended."""

    family: str = "network"
    number: int
    """Trials of a family are counted from 0."""
    state: TrialEnd
    params: dict[str, Hyperparameter]
    intermediate: tuple[OptionalFloat, ...]
    value: OptionalFloat
    duration_s: float | None


class Trials(Document):
    """All trials, those of one family after those of another, in the order of their numbers."""

    FILE = "trials.json"

    trials: tuple[TrialOutcome, ...]

    @classmethod
    def upgraded(cls, content: Any, version: int) -> Any:
        """Version 0 was the list itself."""
        return {"trials": content} if isinstance(content, list) else content
