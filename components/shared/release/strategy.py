"""The plan of a project's release strategy."""

from components.shared.project import ReleaseSettings
from components.shared.release.outcomes import LabelCriterion
from components.shared.release.plan import Limits, Plan, PlanStep
from components.shared.release.trial import TrialPlan


def plan_of(settings: ReleaseSettings) -> Plan:
    """Return the steps by which a candidate of the project takes over.

    >>> [step.share for step in plan_of(ReleaseSettings(strategy="canary")).steps]
    [5, 25, 50, 100]
    """
    times = {
        "soak_s": settings.soak_s,
        "min_requests": settings.min_requests,
        "deadline_s": settings.deadline_s,
    }
    match settings.strategy:
        case "shadow":
            exposures = [PlanStep(share=0, mirrored=True, **times)]
        case "ab":
            exposures = [PlanStep(share=settings.ab_share, **times)]
        case "canary":
            exposures = [PlanStep(share=share, **times) for share in settings.shares]
        case _:
            exposures = []
    return Plan(
        strategy=settings.strategy,
        steps=(*exposures, PlanStep(share=100)),
        limits=Limits(
            false_rollbacks=settings.false_rollbacks, slow_odds=settings.slow_odds, score_odds=settings.score_odds
        ),
        inconclusive=settings.inconclusive,
        labels=_labels(settings),
        trial=_trial(settings),
        approvers=settings.approvers,
    )


def _labels(settings: ReleaseSettings) -> LabelCriterion | None:
    if settings.labels == "none":
        return None
    return LabelCriterion(kind=settings.labels, margin=settings.labels_margin, error=settings.labels_error)


def _trial(settings: ReleaseSettings) -> TrialPlan | None:
    if settings.strategy != "ab":
        return None
    assert settings.smallest_effect is not None
    return TrialPlan(
        metric=settings.ab_metric,
        smallest_effect=settings.smallest_effect,
        power=settings.power,
        error=settings.labels_error,
        look_every_s=settings.look_every_s,
    )
