"""What validation found, and what the project file says to do about it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.shared.project import Reaction, Validation

Kind = Literal["schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns"]
# The order in which reasons are named: what is wrong with the data before what has merely changed.
KINDS: tuple[Kind, ...] = ("schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns")


@dataclass(frozen=True)
class Finding:
    """One thing that is not as expected, as a sentence for people."""

    source: str
    column: str | None
    kind: Kind
    reaction: Reaction
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return the finding as it stands in ``findings.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Noted:
    """A finding before the project file has said what to do about it."""

    column: str | None
    kind: Kind
    sentence: str


def judged(noted: list[Noted], source: str, rules: Validation) -> list[Finding]:
    """Give each finding its reaction; what the project file ignores is left out."""
    findings = [Finding(source, each.column, each.kind, getattr(rules, each.kind), each.sentence) for each in noted]
    return sorted((each for each in findings if each.reaction != "ignore"), key=rank)


def rank(finding: Finding) -> tuple[bool, int, str, str]:
    """Sort key: what blocks first, then by kind, source and column."""
    return finding.reaction != "block", KINDS.index(finding.kind), finding.source, finding.column or ""
