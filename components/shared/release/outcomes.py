"""Whether a shadow is better than the champion on labels that have become known; it may be asked again and again."""

from math import exp
from typing import Literal, NamedTuple

from pydantic import Field

from components.shared.documents.document import Part
from components.shared.sequential.paired import PairedGain


class LabelCriterion(Part):
    """What labels must show before a shadow takes over.

    Args:
        kind: "better": right more often than the champion; "not worse": right less often by at most ``margin``.
        margin: Share of the rows, of "not worse".
        error: Probability with which a candidate takes over that is not so; between 0 and 1 (exclusive).
    """

    kind: Literal["better", "not worse"]
    margin: float = Field(default=0.01, ge=0, lt=1)
    error: float = Field(default=0.05, gt=0, lt=1)


class PairedOutcomes(Part):
    """Rows that both versions answered and whose label is due.

    Args:
        due: All of them, with a label or without.
        wins: Only the candidate was right.
        ties: Both were, or neither was.
        losses: Only the champion was right.
    """

    due: int = 0
    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def labeled(self) -> int:
        """Rows with a label."""
        return self.wins + self.ties + self.losses

    def __str__(self) -> str:
        """Give the numbers."""
        return (
            f"of {self.labeled:,} labeled rows, {self.wins:,} were right for the candidate alone and "
            f"{self.losses:,} for the champion alone"
        )


class LabelVerdict(NamedTuple):
    """What the labels show so far."""

    outcome: Literal["wait", "pass", "fail"]
    reason: str


def judge(criterion: LabelCriterion, outcomes: PairedOutcomes) -> LabelVerdict:
    """Say whether the labels show what the criterion asks for, or that the candidate is worse than it allows.

    The candidate fails where the champion is shown to be better by more than the margin, with the same error.
    """
    margin = criterion.margin if criterion.kind == "not worse" else 0.0
    evidence_for = _e_value(margin, outcomes.wins, outcomes.ties, outcomes.losses)
    evidence_against = _e_value(-margin, outcomes.losses, outcomes.ties, outcomes.wins)
    needed = 1 / criterion.error
    if evidence_for >= needed:
        return LabelVerdict("pass", f"it is {criterion.kind}: {outcomes}")
    if evidence_against >= needed:
        return LabelVerdict("fail", f"it is right less often than the champion{_by(margin)}: {outcomes}")
    return LabelVerdict(
        "wait", f"the labels do not show yet that it is {criterion.kind}: {outcomes}, {outcomes.due:,} rows are due"
    )


def _by(margin: float) -> str:
    return f", by more than {margin:g} of the rows" if margin else ""


def _e_value(margin: float, wins: int, ties: int, losses: int) -> float:
    return exp(min(PairedGain(margin).log_value(wins, ties, losses), 700.0))
