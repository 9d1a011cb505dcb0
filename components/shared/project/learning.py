"""How models are searched and trained."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from components.shared.project.section import Section


class Range(Section):
    """A numeric hyperparameter that is searched between two inclusive bounds."""

    low: float = Field(description="Lowest value, inclusive.")
    high: float = Field(description="Highest value, inclusive.")
    log: bool = Field(False, description="Whether to sample on a logarithmic scale.")
    integer: bool = Field(False, description="Whether to sample integers only.")
    step: float | None = Field(None, gt=0, description="Distance between values; required by the grid sampler.")


class Choice(Section):
    """A hyperparameter that is searched in a list of values."""

    choices: tuple[int | float | str | bool, ...] = Field(min_length=1, description="Values to choose from.")


def _default_trees_space() -> dict[str, Range | Choice]:
    return {
        "leaves": Choice(choices=(4, 8, 16, 31, 63)),
        "min_rows": Choice(choices=(5, 20, 60)),
        "feature_share": Choice(choices=(0.4, 0.7, 1.0)),
        "row_share": Choice(choices=(0.8, 1.0)),
        "l2": Choice(choices=(0.1, 1.0, 10.0)),
    }


def _default_space() -> dict[str, Range | Choice]:
    return {
        "learning_rate": Range(low=5e-4, high=1e-2, log=True),
        "l2": Range(low=1e-4, high=1e-2, log=True),
        "dropout": Range(low=0.0, high=0.5),
        "hidden": Choice(choices=("none", "32", "64,32")),
        "bins": Choice(choices=(8, 16, 32)),
    }


class Tuning(Section):
    """The search for hyperparameters."""

    sampler: Literal["tpe", "random", "grid", "gp"] = Field(
        "tpe", description="Optuna sampler; gp requires PyTorch, which the tuning step's lock does not have."
    )
    pruner: Literal["median", "hyperband", "none"] = Field("median", description="Optuna pruner.")
    trials: int = Field(
        8,
        ge=0,
        description="Number of trials of each family that is searched, network and trees; 0 skips the search and uses "
        "the values of 'training'.",
    )
    timeout_s: float | None = Field(None, gt=0, description="Seconds after which no new trial of a family starts.")
    workers: int = Field(1, ge=1, le=64, description="Worker processes; the search is reproducible with one only.")
    startup_trials: int = Field(3, ge=0, description="Number of first trials that are never pruned.")
    warmup_epochs: int = Field(
        3,
        ge=0,
        description="Number of first epochs in which a trial is never pruned; trees count 100 rounds as one.",
    )
    max_rows: int | None = Field(
        200_000, ge=100, description="Largest number of training rows, and of validation rows, of a trial."
    )
    space: dict[str, Range | Choice] = Field(
        default_factory=_default_space, description="Hyperparameters of the network to search, by name."
    )
    trees_space: dict[str, Range | Choice] = Field(
        default_factory=_default_trees_space, description="Hyperparameters of the trees to search, by name."
    )

    def space_of(self, family: str) -> dict[str, Range | Choice]:
        """Return the space of a family; empty if nothing of it is searched."""
        return {"network": self.space, "trees": self.trees_space}.get(family, {})


ModelFamily = Literal["plain", "network", "trees", "blend"]


class Trees(Section):
    """Boosted trees: hyperparameters that the search leaves fixed, and the rule for early stopping."""

    leaves: int = Field(31, ge=2, le=4096, description="Most leaves of a tree.")
    learning_rate: float = Field(0.05, gt=0, le=1, description="Share of each tree's correction that is taken.")
    min_rows: int = Field(20, ge=1, description="Fewest training rows of a leaf.")
    feature_share: float = Field(0.7, gt=0, le=1, description="Share of the features that each tree may use.")
    row_share: float = Field(0.8, gt=0, le=1, description="Share of the training rows that each tree is fitted to.")
    l2: float = Field(1.0, ge=0, description="Weight of the L2 penalty on the values of leaves.")
    rounds: int = Field(2000, ge=1, description="Largest number of rounds; each adds one tree (one per class).")
    patience: int = Field(50, ge=1, description="Rounds without a lower validation loss after which training stops.")


class Training(Section):
    """The families of models to try, hyperparameters that the search leaves fixed, and the rule for early stopping."""

    families: tuple[ModelFamily, ...] = Field(
        ("plain", "network", "trees", "blend"),
        min_length=1,
        description="Families of models to fit; the one with the lowest validation loss is the candidate, or a simpler "
        "one that the rows cannot tell from it. The blend mixes the other families named here, or all if it is alone. "
        "The plain model is always fitted, as a comparison.",
    )
    trees: Trees = Field(Trees(), description="The boosted trees.")
    learning_rate: float = Field(0.003, gt=0, description="Learning rate of Adam at the start of training.")
    l2: float = Field(1e-3, ge=0, description="Weight of the L2 penalty.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Dropout rate of the hidden layers.")
    hidden: str = Field(
        "32", pattern=r"^(none|\d+(,\d+)*)$", description="Widths of the hidden layers, or 'none' for a linear model."
    )
    bins: int = Field(16, ge=2, le=256, description="Largest number of quantile buckets of a numeric feature.")
    embedding: int = Field(4, ge=1, le=64, description="Width of the embedding of a category.")
    max_vocabulary: int = Field(
        1000, ge=2, description="Most categories kept per feature; rarer ones are treated as unknown."
    )
    batch_size: int = Field(256, ge=1, description="Rows per step; small tables use smaller batches.")
    epochs: int = Field(60, ge=1, description="Largest number of epochs.")
    patience: int = Field(5, ge=1, description="Epochs without a lower validation loss after which training stops.")
    class_weight: Literal["none", "balanced"] = Field(
        "none", description="balanced: give every class the same total weight."
    )

    def of(self, family: str) -> "Training | Trees":
        """Return the section that holds the hyperparameters of a family."""
        return self.trees if family == "trees" else self

    def tuned(self, family: str, values: dict[str, Any]) -> "Training":
        """Return this section with other hyperparameters of a family.

        Raises:
            pydantic.ValidationError: If a value is not allowed.
        """
        if family == "trees":
            return self.model_copy(update={"trees": Trees.model_validate(self.trees.model_dump() | values)})
        return Training.model_validate(self.model_dump() | values)


TUNABLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "network": ("learning_rate", "l2", "dropout", "hidden", "bins", "embedding", "batch_size"),
        "trees": ("leaves", "learning_rate", "min_rows", "feature_share", "row_share", "l2"),
    }
)
"""Family to what a trial may set; other settings are the project's decision or change what the loss means."""
