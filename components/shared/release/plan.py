"""How a candidate takes over, as data: a strategy is a list of steps.

A strategy such as a canary or a shadow adds an entry to ``STRATEGIES``; the state machine, the recovery and every kind
of endpoint take any plan.
"""

from types import MappingProxyType
from typing import Self

from pydantic import Field, model_validator

from components.shared.documents.document import Part


class PlanStep(Part):
    """One step of a plan.

    Args:
        share: Percentage of the requests that the candidate answers.
        mirrored: Whether the candidate also receives a copy of the requests that the champion answers.
        soak_s: How long the step lasts before the next one, in seconds.
    """

    share: int = Field(ge=0, le=100)
    mirrored: bool = False
    soak_s: float = Field(default=0.0, ge=0)


class Plan(Part):
    """The steps of a release; the alias moves right before the last one, which gives the candidate everything.

    Args:
        strategy: Name of the strategy.
        steps: At least one; only the last has a share of 100, and it is not mirrored.

    >>> canary = Plan(strategy="canary", steps=(PlanStep(share=5, soak_s=600), PlanStep(share=100)))
    >>> [step.share for step in canary.exposures]
    [5]
    """

    strategy: str
    steps: tuple[PlanStep, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _ends_with_everything(self) -> Self:
        shares = [step.share for step in self.steps]
        if shares[-1] != 100 or shares.count(100) > 1:
            raise ValueError(f"the steps have the shares {shares}; expected 100 in the last step and only there")
        if self.steps[-1].mirrored:
            raise ValueError("the last step is mirrored; there is no champion left whose requests could be copied")
        return self

    @property
    def exposures(self) -> tuple[PlanStep, ...]:
        """The steps before the commit point, in which the champion still answers some of the requests."""
        return self.steps[:-1]


BASIC = Plan(strategy="basic", steps=(PlanStep(share=100),))
STRATEGIES = MappingProxyType({BASIC.strategy: BASIC})
