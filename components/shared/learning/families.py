"""Which families of models are fitted: those that the project names, as far as this machine has their libraries."""

import logging

from components.shared.errors import InputError
from components.shared.learning.trees import lightgbm
from components.shared.project import Training

_log = logging.getLogger(__name__)
COMPARED = "plain"
"""The family that is fitted in every run, because every candidate is compared with it."""
_SINGLE = ("plain", "network", "trees")


def fitted(training: Training) -> tuple[str, ...]:
    """Return the families to fit: those named, the members of the blend, and the plain one.

    Trees that nobody asked for by name are left out where LightGBM cannot be loaded.

    Raises:
        InputError: If the project names the trees, and LightGBM cannot be loaded.
    """
    alone = set(training.families) == {"blend"}
    families = tuple(dict.fromkeys([*training.families, *(_SINGLE if alone else ()), COMPARED]))
    if "trees" in families:
        try:
            lightgbm()
        except InputError as reason:
            if "families" in training.model_fields_set and not alone:
                raise
            _log.warning("%s They are left out.", reason)
            return tuple(name for name in families if name != "trees")
    return families


def members(training: Training) -> frozenset[str]:
    """Return the families that a blend may mix: those named beside it, or all.

    >>> sorted(members(Training(families=("trees", "blend"))))
    ['trees']
    """
    named = frozenset(training.families) - {"blend"}
    return named or frozenset(_SINGLE)
