"""How a candidate takes over, as data: a strategy is a list of steps.

The state machine, the recovery and every kind of endpoint take any plan.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from components.shared.documents.document import Part
from components.shared.release.outcomes import LabelCriterion
from components.shared.release.trial import TrialPlan


class Limits(Part):
    """What a candidate may do differently from the champion while both answer.

    Args:
        false_rollbacks: Probability with which a release that does no harm may be stopped, all steps and checks
            together; between 0 and 1 (exclusive).
        slow_odds: How many times as high the odds of a slow request may be.
        score_odds: How many times as high or as low the odds of a range of scores may be.
    """

    false_rollbacks: float = Field(default=0.01, gt=0, lt=1)
    slow_odds: float = Field(default=4.0, ge=1)
    score_odds: float = Field(default=3.0, ge=1)


class PlanStep(Part):
    """One step of a plan.

    Args:
        share: Percentage of the requests that the candidate answers.
        mirrored: Whether the candidate also receives a copy of the requests that the champion answers.
        soak_s: How long the step lasts at least, in seconds.
        min_requests: How many requests the candidate must have had before the next step, copies included.
        deadline_s: After so long without enough requests, the step is inconclusive.
    """

    share: int = Field(ge=0, le=100)
    mirrored: bool = False
    soak_s: float = Field(default=0.0, ge=0)
    min_requests: int = Field(default=0, ge=0)
    deadline_s: float = Field(default=float(24 * 3600), gt=0)

    @property
    def watched(self) -> bool:
        """Whether the step waits for something."""
        return self.soak_s > 0 or self.min_requests > 0


class Plan(Part):
    """The steps of a release; the alias moves right before the last one, which gives the candidate everything.

    Args:
        strategy: Name of the strategy.
        steps: At least one; only the last has a share of 100, and it is not mirrored.
        limits: What the candidate may do differently while it is exposed.
        inconclusive: Whether too few requests take the candidate back, or hold it where it is until somebody decides.
        approvers: Accounts one of which must approve before the candidate takes over; none is needed if it is empty.
        labels: What the labels of mirrored requests must show before a mirrored step is passed; None asks for nothing.
        trial: What the outcomes of an A/B test must show before its step is passed; likewise.

    >>> canary = Plan(strategy="canary", steps=(PlanStep(share=5, soak_s=600), PlanStep(share=100)))
    >>> [step.share for step in canary.exposures]
    [5]
    """

    strategy: str
    steps: tuple[PlanStep, ...] = Field(min_length=1)
    limits: Limits = Limits()
    inconclusive: Literal["abort", "hold"] = "abort"
    approvers: tuple[str, ...] = ()
    labels: LabelCriterion | None = None
    trial: TrialPlan | None = None

    @model_validator(mode="after")
    def _ends_with_everything(self) -> Self:
        shares = [step.share for step in self.steps]
        if shares[-1] != 100 or shares.count(100) > 1:
            raise ValueError(f"the steps have the shares {shares}; expected 100 in the last step and only there")
        if self.steps[-1].mirrored:
            raise ValueError("the last step is mirrored; there is no champion left whose requests could be copied")
        return self

    @property
    def waits_for_outcomes(self) -> bool:
        """Whether a step waits for what becomes known later."""
        return self.labels is not None or self.trial is not None

    @property
    def exposures(self) -> tuple[PlanStep, ...]:
        """The steps before the commit point, in which the champion still answers some of the requests."""
        return self.steps[:-1]

    def at_first_release(self) -> "Plan":
        """Return the plan where no champion exists that could be compared with, or answer the other requests."""
        return self.model_copy(update={"steps": self.steps[-1:]})


BASIC = Plan(strategy="basic", steps=(PlanStep(share=100),))
