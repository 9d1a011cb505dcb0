"""``best.json``: the hyperparameters that tuning chose and training takes."""

from typing import Any

from pydantic import Field

from components.shared.documents.document import Document
from components.shared.documents.model_facts import Hyperparameter


class BestHyperparameters(Document):
    """The point of the search space with the lowest validation loss, or the project's fixed values."""

    FILE = "best.json"

    hyperparameters: dict[str, Hyperparameter]
    """Those of the network."""
    trees: dict[str, Hyperparameter] = Field(default_factory=dict)
    """Those of the trees; empty in older documents, and where no trees are fitted."""

    @property
    def named(self) -> dict[str, Hyperparameter]:
        """Return all of them in one mapping; the names of those of the trees begin with ``trees.``."""
        return self.hyperparameters | {f"trees.{name}": chosen for name, chosen in self.trees.items()}

    @classmethod
    def upgraded(cls, content: Any, version: int) -> Any:
        """Version 0 held the hyperparameters themselves."""
        return {"hyperparameters": content} if isinstance(content, dict) else content
