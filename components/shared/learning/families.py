"""Which families of models are fitted: those that the project names, as far as they can do what it asks for."""

import logging

from components.shared.errors import InputError
from components.shared.learning.trees import lightgbm
from components.shared.project import Project

_log = logging.getLogger(__name__)
COMPARED = "plain"
"""The family that is fitted in every run, because every candidate is compared with it."""
_SINGLE = ("plain", "network", "trees")
_MONOTONE = "trees"
"""The family that keeps to the direction of a feature."""


def offered(project: Project) -> tuple[str, ...]:
    """Return the families among which the candidate is chosen.

    Where a feature has a direction that the score must follow, these are the trees alone. Trees that nobody asked for
    by name are left out where LightGBM cannot be loaded.

    Raises:
        InputError: If trees are needed, and LightGBM cannot be loaded.
    """
    training = project.training
    if project.features.monotone:
        lightgbm()
        return (_MONOTONE,)
    if "trees" not in training.families or _has_lightgbm(required="families" in training.model_fields_set):
        return tuple(dict.fromkeys(training.families))
    return tuple(name for name in dict.fromkeys(training.families) if name != "trees")


def fitted(project: Project) -> frozenset[str]:
    """Return the families to fit: those offered, what a blend mixes, and the plain one.

    Raises:
        InputError: If trees are needed, and LightGBM cannot be loaded.
    """
    candidates = offered(project)
    mixed = members(project) if "blend" in candidates else frozenset()
    return frozenset({*candidates, *mixed, COMPARED})


def members(project: Project) -> frozenset[str]:
    """Return the families that a blend may mix: those offered beside it, or all that can be fitted."""
    beside = frozenset(offered(project)) - {"blend"}
    if beside:
        return beside
    return frozenset(name for name in _SINGLE if name != "trees" or _has_lightgbm(required=False))


def _has_lightgbm(*, required: bool) -> bool:
    try:
        lightgbm()
    except InputError as reason:
        if required:
            raise
        _log.warning("%s They are left out.", reason)
        return False
    return True
