"""The blend: a weighted mean of the other families' logits, with weights chosen on the validation rows.

Averaging logits (a logarithmic opinion pool) keeps a probability a probability, and for a regression it is the mean of
the values. The weights are not negative and add up to 1, so that the blend stays inside what its members answer.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from components.shared.documents.preprocessing import Preprocessing
from components.shared.inputs.rows import Inputs
from components.shared.learning import fitting
from components.shared.learning.onnx_graph import GraphBuilder
from components.shared.learning.prepare import RawData
from components.shared.project import Training
from components.training.families.family import FittedModel, Learned, Progress
from components.training.families.start import Start

_log = logging.getLogger(__name__)
_FOLDS = 5
_REACH = 8.0
"""Largest logarithm of a weight before they are scaled to add up to 1."""
_NEGLIGIBLE = 0.02
_ROWS_MAX = 50_000
"""More rows do not move the weights noticeably."""


@dataclass(frozen=True)
class LearnedBlend:
    """Some learned functions and their weights; implements ``Learned``."""

    members: Mapping[str, Learned]
    weights: tuple[float, ...]

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Answer raw inputs by every member."""
        return _mixed([member.logits(inputs) for member in self.members.values()], self.weights)

    def nodes(self, builder: GraphBuilder) -> str:
        """Add the members, and the weighted sum of their outputs."""
        return builder.add(
            "Sum",
            *(
                builder.add("Mul", member.nodes(builder), builder.constant(weight))
                for member, weight in zip(self.members.values(), self.weights, strict=True)
            ),
        )

    def save(self, folder: Path, name: str) -> None:
        """Write every member under the name of its family."""
        for family, member in self.members.items():
            member.save(folder, family)

    def preprocessing(self, family: str, name: str) -> dict[str, Preprocessing]:
        """Return that of every member."""
        of_members = (member.preprocessing(other, other) for other, member in self.members.items())
        return {other: learned for part in of_members for other, learned in part.items()}

    def content(self) -> bytes:
        """Return the members and their weights."""
        return repr(self.weights).encode() + b"".join(member.content() for member in self.members.values())

    def edges(self) -> list[NDArray[np.float32]]:
        """Return the edges of all members."""
        of_members = [member.edges() for member in self.members.values()]
        return [np.concatenate(parts) for parts in zip(*of_members, strict=True)]

    def is_additive(self) -> bool:
        """Return whether all members are."""
        return all(member.is_additive() for member in self.members.values())


def fit(
    data: RawData,
    hyperparameters: Training,
    seed: int,
    fitted: Mapping[str, FittedModel],
    start: Start | None = None,
) -> FittedModel:
    """Choose the weights with the lowest validation loss; a member with hardly any weight is left out.

    The validation losses are those of rows that took no part in choosing the weights: each fifth of the rows is
    answered with the weights that the others chose.

    Args:
        data: The validation labels choose the weights.
        hyperparameters: Only the weights of the classes are used.
        seed: Orders the rows.
        fitted: The members.
        start: Not used: the weights are chosen again, and the members start from the champion where they can.
    """
    started = time.perf_counter()
    names, models = list(fitted), list(fitted.values())
    logits = np.stack([model.validation_logits for model in models])
    labels = data.validation_labels
    per_class = fitting.class_weights(data.train_labels, data.target, hyperparameters.class_weight)
    row_weights = fitting.row_weights(labels, per_class)

    def losses(weights: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
        mixed = _mixed(logits[:, rows], weights)
        weighted: NDArray[np.float64] = data.target.losses(mixed, labels[rows]) * row_weights[rows] / row_weights.mean()
        return weighted

    def best(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        some = rows[:_ROWS_MAX]
        optimum = scipy.optimize.minimize(
            lambda logs: losses(scipy.special.softmax(logs), some).mean(),
            np.zeros(len(models)),
            method="L-BFGS-B",
            bounds=[(-_REACH, _REACH)] * len(models),
        )
        weights = scipy.special.softmax(optimum.x)
        weights = np.where(weights < _NEGLIGIBLE, 0, weights)
        kept: NDArray[np.float64] = weights / weights.sum()
        return kept

    order = np.random.default_rng(seed).permutation(len(labels))
    held_out = np.empty(len(labels))
    for fold in range(_FOLDS):
        is_held = np.arange(len(order)) % _FOLDS == fold
        held_out[order[is_held]] = losses(best(order[~is_held]), order[is_held])
    weights = best(order)
    members = {name: weight for name, weight in zip(names, weights.tolist(), strict=True) if weight > 0}
    _log.info("the blend has the weights %s", members)
    parts = " and ".join(f"{weight:.0%} {name}" for name, weight in members.items())
    return FittedModel(
        family="blend",
        encoding=models[0].encoding,
        learned=LearnedBlend({name: fitted[name].learned for name in members}, tuple(members.values())),
        progress=Progress(float(held_out.mean()), time.perf_counter() - started),
        hyperparameters={f"weight_{name}": weight for name, weight in members.items()},
        validation_logits=_mixed(logits, weights),
        validation_losses=held_out,
        description=f"a blend of {parts}",
        origin="; ".join(f"{name} {fitted[name].origin}" for name in members if fitted[name].origin),
        is_continued=any(fitted[name].is_continued for name in members),
    )


def _mixed(
    logits: Sequence[NDArray[np.float64]] | NDArray[np.float64], weights: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted sum of (members, rows, units)."""
    mixed: NDArray[np.float64] = np.tensordot(np.asarray(weights), np.asarray(logits), axes=1)
    return mixed
