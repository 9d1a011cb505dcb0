"""Findings of validation, and the reaction that the project file defines for each kind."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from components.shared.project import Reaction, Validation

Kind = Literal["schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns"]
# The order of the reasons: invalid data before changed data.
KINDS: tuple[Kind, ...] = ("schema_anomalies", "batch_size", "segments", "drift", "duplicates", "constant_columns")


@dataclass(frozen=True)
class Finding:
    """One deviation from the expected data, and the reaction to it."""

    source: str
    column: str | None
    kind: Kind
    reaction: Reaction
    sentence: str

    def as_json(self) -> dict[str, Any]:
        """Return the finding as it is written to ``findings.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Anomaly:
    """One deviation from the expected data, before its reaction is looked up in the project file."""

    column: str | None
    kind: Kind
    sentence: str


def with_reactions(anomalies: list[Anomaly], source: str, rules: Validation) -> list[Finding]:
    """Add to each anomaly its reaction; anomalies that the project file ignores are left out."""
    findings = [
        Finding(source, anomaly.column, anomaly.kind, getattr(rules, anomaly.kind), anomaly.sentence)
        for anomaly in anomalies
    ]
    return sorted((finding for finding in findings if finding.reaction != "ignore"), key=rank)


def rank(finding: Finding) -> tuple[bool, int, str, str]:
    """Return the sort key of a finding: blocking findings first, then by kind, source and column."""
    return finding.reaction != "block", KINDS.index(finding.kind), finding.source, finding.column or ""
