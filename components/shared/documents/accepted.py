"""``accepted.json``: the last run whose data passed validation."""

from components.shared.documents.document import Document


class AcceptedRecord(Document):
    """The run that the next data is compared with; all None before the first."""

    FILE = "accepted.json"

    run_id: str | None
    snapshot_hash: str | None
