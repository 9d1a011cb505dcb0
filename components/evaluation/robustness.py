"""What is lost when inputs get worse: noise, gaps, categories never seen, and columns shuffled one at a time.

The loss under a shuffled column is also that feature's permutation importance (Breiman, Random Forests, 2001).
All perturbations are scored on one seeded sample of the test rows, and compared with the same rows unperturbed.
"""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.measurements import PerturbationLoss
from components.shared.documents.model_facts import ModelFacts
from components.shared.inputs.rows import Inputs
from components.shared.measures.metrics import Scorecard
from components.shared.measures.ranking import Floats

_MOST_ROWS = 5_000
_FEWEST_ROWS = 500
_CELLS = 200_000
_SHUFFLED_COLUMNS = 50
NOISE = (0.1, 0.5)
MISSING = (0.1, 0.3)
UNSEEN = 0.1
_NEVER_SEEN = "\x00never seen"

Perturbed = tuple[str, float | str, Inputs]


def sample(rows: int, features: int, seed: int) -> NDArray[np.intp]:
    """Choose which test rows are perturbed: fewer for many features, as each is shuffled once."""
    most = min(rows, _MOST_ROWS, max(_FEWEST_ROWS, _CELLS // max(1, features)))
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def standard_deviations(numeric: NDArray[np.float32]) -> Floats:
    """Return the spread of each column's known values; 0 where nothing is known."""
    present = ~np.isnan(numeric)
    rows = np.maximum(present.sum(axis=0), 1)
    values = np.where(present, numeric, 0.0).astype(np.float64)
    deviations = np.where(present, values - values.sum(axis=0) / rows, 0.0)
    spread: Floats = np.sqrt((deviations**2).sum(axis=0) / rows)
    return spread


def perturbations(inputs: Inputs, std: Floats, facts: ModelFacts, seed: int) -> Iterator[Perturbed]:
    """Make each perturbed copy of the inputs.

    Args:
        inputs: The rows as they are.
        std: (numeric,) standard deviation of each numeric feature on the training rows: the unit of the noise.
        facts: The model's features, whose order is that of the columns; gaps are only made where one may be missing.
        seed: Chooses noise, gaps and orders.
    """
    rng = np.random.default_rng(seed)
    numeric, categorical = facts.numeric, facts.categorical
    declared = {feature.name: feature for feature in facts.features}
    real = np.array([declared[name].type == "numeric" for name in numeric], dtype=bool)
    if real.any():
        for level in NOISE:
            noise = rng.normal(size=inputs.numeric.shape) * level * std * real
            yield "noise", level, Inputs((inputs.numeric + noise).astype(np.float32), inputs.categorical)
    gaps_in_numbers = np.array([declared[name].missing for name in numeric], dtype=bool)
    gaps_in_categories = np.array([declared[name].missing for name in categorical], dtype=bool)
    if gaps_in_numbers.any() or gaps_in_categories.any():
        for level in MISSING:
            emptied = (rng.random(inputs.numeric.shape) < level) & gaps_in_numbers
            blanked = (rng.random(inputs.categorical.shape) < level) & gaps_in_categories
            yield (
                "missing",
                level,
                Inputs(np.where(emptied, np.float32("nan"), inputs.numeric), np.where(blanked, "", inputs.categorical)),
            )
    if categorical:
        replaced = rng.random(inputs.categorical.shape) < UNSEEN
        yield "unseen category", UNSEEN, Inputs(inputs.numeric, np.where(replaced, _NEVER_SEEN, inputs.categorical))
    names = [*numeric, *categorical]
    for index, name in enumerate(names[:_SHUFFLED_COLUMNS]):
        order = rng.permutation(len(inputs))
        numbers, texts = inputs.numeric, inputs.categorical
        if index < len(numeric):
            numbers = numbers.copy()
            numbers[:, index] = numbers[order, index]
        else:
            texts = texts.copy()
            texts[:, index - len(numeric)] = texts[order, index - len(numeric)]
        yield "shuffled column", name, Inputs(numbers, texts)


def losses(
    perturbed: Iterator[Perturbed],
    rows: int,
    answered: Callable[[Inputs], Scorecard],
    base: float,
    higher_is_better: bool,
) -> tuple[PerturbationLoss, ...]:
    """Measure the primary metric under each perturbation.

    Args:
        perturbed: Copies of the rows.
        rows: Their number.
        answered: From inputs to the model's answers.
        base: The primary metric on the rows as they are.
        higher_is_better: Direction of the primary metric.
    """
    ones = np.ones((1, rows))
    losses = []
    for kind, level, inputs in perturbed:
        metric = float(answered(inputs).primary(ones)[0])
        drop = base - metric if higher_is_better else metric - base
        losses.append(PerturbationLoss(perturbation=kind, level=level, metric=metric, drop=drop))
    return tuple(losses)
