"""An A/B test of a candidate: entities stay with one version, and the two groups' outcomes are compared now and then.

The groups are of different people, therefore the comparison is of two means, by a group sequential test
(``components.shared.sequential.group_sequential``). How many entities it needs follows from the smallest effect that
would be worth a release, and from how much outcomes vary, which the outcomes themselves tell.
"""

from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import Field

from components.shared.documents.document import Part

_FEWEST = 200
"""Entities of each version before the first look: a mean of fewer, or their variance, may be far off."""


class TrialPlan(Part):
    """What an A/B test is to find.

    Args:
        metric: "labels": the share of right decisions (of a regression, the error below the champion's); "outcomes":
            the mean of the figures that ``perennial outcomes add`` brings.
        smallest_effect: The difference of the means that would be worth a release, in the unit of the metric.
        power: Probability of finding a difference of that size; between 0 and 1.
        error: Probability of finding one, on either side, where there is none.
        look_every_s: Seconds between two looks at the outcomes.
    """

    metric: Literal["labels", "outcomes"] = "labels"
    smallest_effect: float = Field(gt=0)
    power: float = Field(default=0.8, gt=0, lt=1)
    error: float = Field(default=0.05, gt=0, lt=1)
    look_every_s: float = Field(default=86400.0, gt=0)


class Arm(Part):
    """The outcomes of the entities that one version answered: how many, their mean, and the variance between them."""

    entities: int = 0
    mean: float = 0.0
    variance: float = 0.0


class Arms(Part):
    """Both groups; ``crossed`` is the number of entities that both versions answered, who count for neither."""

    champion: Arm = Arm()
    candidate: Arm = Arm()
    crossed: int = 0

    @property
    def difference(self) -> float:
        """The candidate's mean less the champion's."""
        return self.candidate.mean - self.champion.mean

    @property
    def information(self) -> float | None:
        """1 / the variance of the difference, from the variance within both groups.

        None while there are too few entities, or all of a group have the same outcome.
        """
        groups = (self.champion, self.candidate)
        if min(arm.entities for arm in groups) < _FEWEST or min(arm.variance for arm in groups) <= 0:
            return None
        within = sum((arm.entities - 1) * arm.variance for arm in groups) / sum(arm.entities - 1 for arm in groups)
        return 1 / (within * sum(1 / arm.entities for arm in groups))


class TrialLook(Part):
    """One look: when, after which fraction of the planned information, the statistic and its bound."""

    at: datetime
    fraction: float
    z: float
    bound: float


class Trial(Part):
    """What is known of an A/B test so far."""

    arms: Arms = Arms()
    looks: tuple[TrialLook, ...] = ()


class TrialVerdict(NamedTuple):
    """What the outcomes show so far."""

    outcome: Literal["wait", "pass", "fail", "inconclusive"]
    reason: str


def judge(plan: TrialPlan, trial: Trial) -> TrialVerdict:
    """Say what the last look shows; once it has shown something, later outcomes change nothing."""
    shown = f"{_shown(plan, trial.arms)}"
    for number, look in enumerate(trial.looks, start=1):
        if abs(look.z) >= look.bound:
            is_better = look.z > 0
            word = "better" if is_better else "worse"
            reason = f"it is {word}, as look {number} shows (z = {look.z:+.2f} beyond {look.bound:.2f}): {shown}"
            return TrialVerdict("pass" if is_better else "fail", reason)
    if trial.looks and trial.looks[-1].fraction >= 1:
        return TrialVerdict(
            "inconclusive", f"there is hardly a difference of {plan.smallest_effect:g} in {plan.metric}: {shown}"
        )
    done = f"{trial.looks[-1].fraction:.0%}" if trial.looks else "nothing"
    return TrialVerdict("wait", f"{done} of the needed outcomes are known after {_counted(len(trial.looks))}: {shown}")


def _shown(plan: TrialPlan, arms: Arms) -> str:
    return (
        f"{plan.metric} {arms.candidate.mean:.4g} of {arms.candidate.entities:,} entities against "
        f"{arms.champion.mean:.4g} of {arms.champion.entities:,}"
    )


def _counted(looks: int) -> str:
    return "1 look" if looks == 1 else f"{looks} looks"
