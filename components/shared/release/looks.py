"""Look at the outcomes of an A/B test: the one part of a release that computes with arrays.

Whoever only releases does not need it, and its image has no numpy.
"""

from datetime import datetime, timedelta
from math import sqrt

from components.shared.release.trial import Arms, Trial, TrialLook, TrialPlan
from components.shared.sequential.group_sequential import bounds, information

_LEAST_GROWTH = 0.01


def looked(plan: TrialPlan, trial: Trial, arms: Arms, now: datetime) -> Trial:
    """Take the newest outcomes, and compare them if it is time for a look.

    Args:
        plan: Says how often, and how large an effect is to be found.
        trial: What was known.
        arms: The outcomes of all entities so far.
        now: The time of the look.
    """
    trial = trial.model_copy(update={"arms": arms})
    precision = arms.information
    if precision is None:
        return trial
    fraction = precision / information(plan.smallest_effect, plan.error, plan.power)
    last = trial.looks[-1] if trial.looks else None
    if last is not None and (
        last.fraction >= 1
        or now - last.at < timedelta(seconds=plan.look_every_s)
        or fraction < last.fraction + _LEAST_GROWTH
    ):
        return trial
    fractions = [*(look.fraction for look in trial.looks), fraction]
    bound = bounds(plan.error, fractions, [look.bound for look in trial.looks])[-1]
    look = TrialLook(at=now, fraction=fraction, z=arms.difference * sqrt(precision), bound=bound)
    return trial.model_copy(update={"looks": (*trial.looks, look)})
