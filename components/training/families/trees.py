"""Boosted trees, with the hyperparameters that the study chose, stopped early on the validation rows."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.documents.preprocessing import Preprocessing, TreesPreprocessing
from components.shared.inputs.rows import Inputs
from components.shared.learning import onnx_trees, prepare
from components.shared.learning.onnx_graph import GraphBuilder
from components.shared.learning.trees import Boosting, Forest, TreeColumns
from components.shared.project import TUNABLE, Training
from components.training.families import replayed, trees_start
from components.training.families.family import FittedModel, Progress
from components.training.families.start import Start

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnedTrees:
    """Trees behind their numbering of categories; implements ``Learned``."""

    columns: TreeColumns
    numbers: int
    forest: Forest
    monotone: tuple[int, ...] = ()
    """Direction of each number that every tree follows, 0 for none; empty if none has one."""

    def logits(self, inputs: Inputs) -> NDArray[np.float64]:
        """Answer raw inputs by LightGBM."""
        return self.forest.logits(self.columns.matrix(inputs))

    def nodes(self, builder: GraphBuilder) -> str:
        """Add the numbering of categories and all trees."""
        return onnx_trees.logits(builder, self.columns, self.numbers, self.forest)

    def save(self, folder: Path, name: str) -> None:
        """Write LightGBM's own text format."""
        (folder / _file(name)).write_text(self.forest.text, encoding="utf-8")

    def preprocessing(self, family: str, name: str) -> dict[str, Preprocessing]:
        """Return the numbers of the categories, and the directions."""
        vocabulary = self.columns.vocabulary()
        coded = zip(self.columns.codes, vocabulary, strict=True)
        return {
            family: TreesPreprocessing(
                weights=_file(name),
                vocabulary=tuple(map(tuple, vocabulary)),
                codes=tuple(tuple(codes[word] for word in ("", *words)) for codes, words in coded),
                unknown=self.columns.unknown,
                monotone=self.monotone,
            )
        }

    def content(self) -> bytes:
        """Return the trees and the numbers of the categories."""
        return f"{self.columns!r}\0{self.forest.text}".encode()

    def edges(self) -> list[NDArray[np.float32]]:
        """Return the values on both sides of every threshold."""
        return onnx_trees.cuts(self.forest, self.numbers)

    def is_additive(self) -> bool:
        """Return False: a tree may split by several features."""
        return False


def fit(
    data: prepare.RawData,
    hyperparameters: Training,
    seed: int,
    fitted: Mapping[str, FittedModel],
    start: Start | None = None,
) -> FittedModel:
    """Boost until the validation loss stops falling, and keep the trees up to the best round.

    Raises:
        InputError: If LightGBM cannot be loaded.
    """
    began = trees_start.load(start, data.monotone)
    data = replayed.taken(data, began.rows)
    rows = prepare.for_trees(data, hyperparameters, began.columns)
    settings = hyperparameters.trees
    forest = Boosting(rows.train, rows.validation, rows.numbers).fit(
        data.target, settings, seed=seed, monotone=data.monotone, start=began.text
    )
    _log.info("kept the trees of %d of at most %d rounds", forest.best_round, settings.rounds)
    logits, weights = forest.logits(rows.validation.matrix), rows.validation.weights
    return FittedModel(
        family="trees",
        encoding=rows.encoding,
        learned=LearnedTrees(rows.columns, rows.numbers, forest, data.monotone),
        progress=Progress(forest.best_loss, forest.duration_s, forest.best_round, forest.history),
        hyperparameters={name: getattr(settings, name) for name in TUNABLE["trees"]},
        validation_logits=logits,
        validation_losses=data.target.losses(logits, data.validation_labels) * weights / weights.mean(),
        description=f"{forest.best_round:,} {began.rounds} of boosted trees with at most {settings.leaves} leaves, "
        f"fitted on {len(data.train_labels):,} rows",
        origin=began.origin(),
        is_continued=began.text is not None,
    )


def _file(name: str) -> str:
    return f"{name}.txt"
