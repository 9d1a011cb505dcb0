"""``champion.json``: the version that answered before a run."""

from components.shared.documents.document import Document


class ChampionRecord(Document):
    """The champion in the registry; all None before the first release."""

    FILE = "champion.json"

    version: str | None
    run_id: str | None
    fingerprint: str | None
