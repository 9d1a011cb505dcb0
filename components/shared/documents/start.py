"""``start.json``: what training may begin from, beside the champion's weights in ``package/`` where it may."""

from typing import ClassVar

from components.shared.documents.document import Document


class StartRecord(Document):
    """Version whose models training continues; None where it begins from scratch, whatever the registry holds."""

    FILE = "start.json"
    PACKAGE: ClassVar[str] = "package"
    """Folder with the facts, the preprocessing and the weights of that version."""

    version: str | None
