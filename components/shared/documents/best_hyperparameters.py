"""``best.json``: the hyperparameters that tuning chose and training takes."""

from typing import Any

from components.shared.documents.document import Document
from components.shared.documents.model_facts import Hyperparameter


class BestHyperparameters(Document):
    """The point of the search space with the lowest validation loss, or the project's fixed values."""

    FILE = "best.json"

    hyperparameters: dict[str, Hyperparameter]

    @classmethod
    def upgraded(cls, content: Any, version: int) -> Any:
        """Version 0 held the hyperparameters themselves."""
        return {"hyperparameters": content} if isinstance(content, dict) else content
