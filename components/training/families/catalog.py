"""The entry of each model family, by the name that a project file uses, and the choice between fitted families."""

import math
from collections.abc import Mapping
from types import MappingProxyType

from components.training.families import blend, network, plain, trees
from components.training.families.family import Family, FittedModel

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {"plain": plain.fit, "network": network.fit, "trees": trees.fit, "blend": blend.fit}
)
"""The simplest family first; one that builds on others comes after them."""


def candidate(fitted: Mapping[str, FittedModel]) -> str:
    """Choose the simplest family whose validation loss is within one standard error of the lowest.

    The search for hyperparameters and early stopping have seen the validation rows, so that the loss of a family with
    more of both is too low by chance: the one-standard-error rule (Breiman et al., Classification and Regression Trees,
    1984) leaves the simpler family where the rows cannot tell them apart. The error is that of the paired difference.

    Args:
        fitted: Family to its model; all on the same validation rows.
    """
    usable = {name: model for name, model in fitted.items() if math.isfinite(model.validation_loss)} or fitted
    best = min(usable.values(), key=lambda model: model.validation_loss)
    for name in FAMILIES:
        if name in usable:
            difference = usable[name].validation_losses - best.validation_losses
            if difference.mean() <= difference.std() / math.sqrt(len(difference)):
                return name
    return best.family
