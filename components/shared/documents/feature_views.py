"""``feature_views.json``: from which feature views the features come, and how long a row of each is valid."""

import shutil
from pathlib import Path
from typing import Literal

from components.shared.documents.document import Document, Part


class FeatureViewFacts(Part):
    """A feature view of Feast, as it was when the model was trained."""

    name: str
    features: tuple[str, ...]
    """Those that the feature service takes from it."""
    ttl_s: float
    """Seconds after its event time for which a row is valid, the last one included; 0 means no limit."""


class FeatureViews(Document):
    """The views of the project's feature service; a model package has them so that its features can be looked up."""

    FILE = "feature_views.json"

    join_key: str
    """Feast's name for the entity."""
    entity_type: Literal["text", "integer"]
    views: tuple[FeatureViewFacts, ...]

    @classmethod
    def hand_on(cls, source: Path, target: Path) -> None:
        """Hand the document on from one artifact's folder to the next; an older artifact has none."""
        if (file := source / cls.FILE).is_file():
            shutil.copyfile(file, target / cls.FILE)
