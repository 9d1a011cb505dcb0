"""Findings of validation, and the reaction that the project file defines for each kind."""

from dataclasses import dataclass
from typing import get_args

from components.shared.documents.findings import DriftEvidence, Finding, FindingKind
from components.shared.project import Reaction, Validation

# The order of the reasons: invalid data before changed data.
_KINDS = get_args(FindingKind)


@dataclass(frozen=True)
class Anomaly:
    """One deviation from the expected data, before its reaction is looked up in the project file."""

    column: str | None
    kind: FindingKind
    sentence: str
    drift: DriftEvidence | None = None


def with_reactions(anomalies: list[Anomaly], source: str, rules: Validation) -> list[Finding]:
    """Add to each anomaly its reaction; anomalies that the project file ignores are left out.

    Drift within one snapshot never blocks: no accepted snapshot says which of its periods is the expected one.
    """
    findings = [
        Finding(
            source=source,
            column=anomaly.column,
            kind=anomaly.kind,
            reaction=_reaction(anomaly, rules),
            sentence=anomaly.sentence,
            drift=anomaly.drift,
        )
        for anomaly in anomalies
    ]
    return sorted((finding for finding in findings if finding.reaction != "ignore"), key=rank)


def _reaction(anomaly: Anomaly, rules: Validation) -> Reaction:
    reaction: Reaction = getattr(rules, anomaly.kind)
    is_remark = anomaly.drift is not None and anomaly.drift.is_within_snapshot
    return "warn" if is_remark and reaction == "block" else reaction


def rank(finding: Finding) -> tuple[bool, int, str, str]:
    """Return the sort key of a finding: blocking findings first, then by kind, source and column."""
    return finding.reaction != "block", _KINDS.index(finding.kind), finding.source, finding.column or ""
