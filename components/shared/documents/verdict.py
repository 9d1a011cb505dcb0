"""The gate's verdict: may the candidate take over, and what each rule says."""

from typing import Literal

from components.shared.documents.document import Document, Part

Phase = Literal["data", "features", "tuning", "training", "evaluation"]
"""Where to go back to when a rule fails."""

Remark = Literal["warning", "not judged", "undecided"]
"""Why a rule that does not block deserves attention."""


class Ruling(Part):
    """One rule of the gate, judged."""

    rule: str
    passed: bool
    reason: str
    phase: Phase
    remark: Remark | None = None
    """None for a rule that simply passed or failed."""


class Verdict(Document):
    """The decision; the candidate is promoted only if every rule passed."""

    FILE = "verdict.json"
    VERSION = 2  # Version 2 adds the remark "undecided".
    IS_ARTIFACT = True

    promote: bool
    first_release: bool
    rules: tuple[Ruling, ...]

    @property
    def failed(self) -> list[Ruling]:
        """The rules that did not pass."""
        return [ruling for ruling in self.rules if not ruling.passed]
