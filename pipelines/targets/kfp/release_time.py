"""How long the step that watches a release on a cluster may take: longer than the plan of the release."""

import math

from components.shared.errors import InputError
from components.shared.project import Project
from components.shared.release.kserve.address import SCHEME
from components.shared.release.strategy import plan_of
from pipelines.targets.model import Kfp

WATCHES = "deployment"
"""The step that watches."""
_CHANGE_S = 300
"""What a change of the shares takes at most, with the requests that check it."""


def timeout_s(project: Project, target: Kfp) -> int:
    """Return the timeout of the step that releases.

    Where it watches a candidate, its timeout is longer than all steps of the plan with their deadlines.

    Args:
        project: Its strategy makes the plan; it may name a timeout for the step.
        target: Where the step runs; its timeout is that of every step without one.

    Raises:
        InputError: If the project file gives the step less time than its plan can take.
    """
    own_s = project.resources.of(WATCHES).timeout_s
    exposures = plan_of(project.release).exposures
    if not exposures or not target.services.endpoint.startswith(SCHEME):
        return own_s or target.timeout_s
    deadlines_s = sum(step.deadline_s for step in exposures)
    longest_s = math.ceil(project.serving.start_s + deadlines_s + _CHANGE_S * (len(exposures) + 1))
    if own_s is None:
        return max(target.timeout_s, longest_s)
    if own_s < longest_s:
        raise InputError(
            f"the step {WATCHES!r} is ended after its timeout_s {own_s}, but the release that it watches may take "
            f"{longest_s} s: {len(exposures)} steps with a deadline_s of {exposures[0].deadline_s:g} s each, and the "
            "changes between them. Raise timeout_s under 'resources', or lower release.deadline_s."
        )
    return own_s
