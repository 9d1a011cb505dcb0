"""The gate's verdict: may the candidate take over, and what each rule says."""

from typing import Literal

from components.shared.documents.document import Document, Part

Phase = Literal["data", "features", "tuning", "training", "evaluation"]
"""Where to go back to when a rule fails."""


class Ruling(Part):
    """One rule of the gate, judged."""

    rule: str
    passed: bool
    reason: str
    phase: Phase


class Verdict(Document):
    """The decision; the candidate is promoted only if every rule passed."""

    FILE = "verdict.json"
    IS_ARTIFACT = True

    promote: bool
    first_release: bool
    rules: tuple[Ruling, ...]

    @property
    def failed(self) -> list[Ruling]:
        """The rules that did not pass."""
        return [ruling for ruling in self.rules if not ruling.passed]
