"""What policies of retraining would have cost, given what every model would have lost in every block.

A policy decides at the start of each block whether to train. The first model is given. The cost of a policy is the loss
of the models that answer, and the price of each training, as in Mahadevan and Mathioudakis, "Cost-aware retraining for
machine learning" (Knowledge-Based Systems, 2024).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Due = Callable[[int, int], bool]
"""Whether to train at the start of a block (second) if the model was trained at the start of another (first)."""

CONFIDENCE = 0.95
_RESAMPLES, _BLOCKS_TOGETHER = 4_000, 4


@dataclass(frozen=True)
class Played:
    """A policy over all blocks: (blocks,) what each cost, and the blocks at whose start it trained."""

    loss: NDArray[np.float64]
    trained: tuple[int, ...]

    def cost(self, training_cost: float) -> NDArray[np.float64]:
        """Return (blocks,) the loss, with the trainings in the blocks in which they were made."""
        total = self.loss.copy()
        total[list(self.trained)] += training_cost
        return total


def never(trained: int, block: int) -> bool:
    """Keep the first model."""
    return False


def every(blocks: int) -> Due:
    """Retrain a model once it is this many blocks old."""
    return lambda trained, block: block - trained >= blocks


def on_alarm(alarms: NDArray[np.int64]) -> Due:
    """Train when monitoring has raised an alarm about the model."""
    return lambda trained, block: 0 <= alarms[trained] <= block


def follow(losses: NDArray[np.float64], due: Due) -> Played:
    """Follow a policy through all blocks.

    >>> losses = np.array([[1.0, 2.0, 4.0], [np.nan, 1.0, 2.0], [np.nan, np.nan, 1.0]])
    >>> follow(losses, every(2)).trained, follow(losses, every(2)).loss.tolist()
    ((2,), [1.0, 2.0, 1.0])
    """
    model, trained, lost = 0, [], []
    for block in range(len(losses)):
        if block > 0 and due(model, block):
            model = block
            trained.append(block)
        lost.append(losses[model, block])
    return Played(np.array(lost), tuple(trained))


def hindsight(losses: NDArray[np.float64], training_cost: float) -> Played:
    """Return the trainings that cost least of all, by dynamic programming over the last training.

    >>> losses = np.array([[1.0, 2.0, 4.0], [np.nan, 1.0, 2.0], [np.nan, np.nan, 1.0]])
    >>> hindsight(losses, 2.0).trained, hindsight(losses, 0.5).trained, hindsight(losses, 9.0).trained
    ((1,), (1, 2), ())
    """
    blocks = len(losses)
    # until[i, j]: what model i loses from its own block up to but not including block j.
    until = np.cumsum(np.nan_to_num(losses), axis=1)
    best, last = np.full(blocks + 1, np.inf), np.zeros(blocks + 1, int)
    best[0] = 0.0
    for end in range(1, blocks + 1):
        for model in range(end):
            cost = best[model] + (training_cost if model else 0.0) + until[model, end - 1]
            if cost < best[end]:
                best[end], last[end] = cost, model
    trained, end = [], blocks
    while end > 0:
        end = int(last[end])
        if end > 0:
            trained.append(end)
    chosen = set(trained)
    return follow(losses, lambda _, block: block in chosen)


def saved(
    costs: NDArray[np.float64], of_other: NDArray[np.float64], seed: int, confidence: float = CONFIDENCE
) -> tuple[float, float, float]:
    """Return what a policy saves per block over another one, with its interval.

    The interval is a moving-block bootstrap (Künsch, 1989): neighbouring blocks share models, so they are drawn
    together, unless there are so few that hardly any draw would differ from another.
    """
    differences = of_other - costs
    count = len(differences)
    length = max(1, min(_BLOCKS_TOGETHER, count // 8))
    starts = np.random.default_rng(seed).integers(0, count - length + 1, (_RESAMPLES, -(-count // length)))
    drawn = (starts[:, :, None] + np.arange(length)).reshape(_RESAMPLES, -1)[:, :count]
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences[drawn].mean(axis=1), [tail, 1 - tail])
    return float(differences.mean()), float(low), float(high)


def decay(losses: NDArray[np.float64], rows: NDArray[np.int64]) -> Sequence[float]:
    """Return by age in blocks what a model loses more, per 1,000 rows, than one that was trained just before.

    NaN where no block has a row.
    """
    blocks, fresh = len(losses), np.diag(losses)
    aged = []
    for age in range(blocks):
        more = sum(losses[block - age, block] - fresh[block] for block in range(age, blocks))
        of = rows[age:].sum()
        aged.append(float(1000 * more / of) if of else float("nan"))
    return aged
