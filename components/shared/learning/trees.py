"""Boosted trees (LightGBM) on raw numbers and numbered categories, stopped early on the validation rows.

A missing number keeps its own branch in every split, and a category is split off in sets, so that nothing has to be
imputed or spread over columns.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from components.shared.documents.training_history import EpochLosses
from components.shared.errors import InputError
from components.shared.inputs.rows import Inputs
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Trees

STEP = 10
"""Rounds from one report of the validation loss to the next."""
_OBJECTIVE = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
_UNKNOWN = 0


def lightgbm() -> Any:
    """Import LightGBM.

    Raises:
        InputError: If it or the OpenMP library that it needs is not installed.
    """
    try:
        import lightgbm as library
    except (ImportError, OSError) as error:
        raise InputError(
            f"the family 'trees' needs LightGBM, which cannot be loaded: {error}. Install the library that it names "
            "(libgomp1 on Debian and Ubuntu), or leave 'trees' out of 'training: families'."
        ) from error
    return library


@dataclass(frozen=True)
class TreeColumns:
    """How raw inputs become the columns of the trees: the numbers as they are, then one number per category.

    ``codes`` has the number of each category of each categorical feature, ``unknown`` that of any other category.
    """

    codes: tuple[dict[str, int], ...]
    unknown: tuple[int, ...]

    def vocabulary(self) -> list[list[str]]:
        """Return the categories of each feature, without the missing one."""
        return [[word for word in codes if word] for codes in self.codes]

    def matrix(self, inputs: Inputs) -> NDArray[np.float32]:
        """Return (rows, numbers + categories) float32 with NaN for missing numbers."""
        numbers = inputs.numeric.shape[1]
        matrix = np.empty((len(inputs), numbers + len(self.codes)), np.float32)
        matrix[:, :numbers] = inputs.numeric
        for number, codes in enumerate(self.codes):
            words, word_of_row = _distinct(inputs.categorical[:, number])
            of_word = np.array([codes.get(word, self.unknown[number]) for word in words], np.float32)
            matrix[:, numbers + number] = of_word[word_of_row]
        return matrix


def columns(train: Inputs, labels: NDArray[np.float32], target: LabelEncoding, encoding: Encoding) -> TreeColumns:
    """Number the categories of the vocabulary.

    A category that no training row has would be answered by whatever lies on the other side of each split. It gets
    the number of the category whose labels are closest to the average, unless rarer categories of the training rows
    have taught the trees what an unknown one is.
    """
    codes, unknown = [], []
    answers = labels[:, None] if target.task != "multiclass" else np.eye(target.units)[labels.astype(int)]
    for number, words in enumerate(encoding.vocabulary):
        numbered = {word: code for code, word in enumerate(["", *words], 1)}
        present, word_of_row = _distinct(train.categorical[:, number])
        code_of_row = np.array([numbered.get(word, _UNKNOWN) for word in present])[word_of_row]
        counts = np.bincount(code_of_row, minlength=len(numbered) + 1)
        sums = np.stack([np.bincount(code_of_row, column, len(counts)) for column in answers.T], axis=1)
        far = np.abs(sums / np.maximum(counts, 1)[:, None] - answers.mean(axis=0)).sum(axis=1)
        typical = _UNKNOWN if counts[_UNKNOWN] else int(np.where(counts > 0, far, np.inf).argmin())
        codes.append({word: code if counts[code] else typical for word, code in numbered.items()})
        unknown.append(typical)
    return TreeColumns(tuple(codes), tuple(unknown))


@dataclass(frozen=True)
class TreeRows:
    """Rows as the trees take them, with labels and weights."""

    matrix: NDArray[np.float32]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]


@dataclass
class Forest:
    """Fitted trees as LightGBM writes them (``text``), and how the fit went; an epoch is a round of boosting."""

    text: str
    units: int
    best_loss: float
    best_round: int
    """Rounds that this fit added; those of the trees that it began with are not counted."""
    history: list[EpochLosses] = field(default_factory=list)
    duration_s: float = 0.0

    def logits(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (rows, units): log-odds, the logits of the classes, or standardised values."""
        booster = lightgbm().Booster(model_str=self.text)
        raw: NDArray[np.float64] = booster.predict(matrix, raw_score=True, num_threads=1)
        return raw.reshape(len(matrix), self.units)

    def rounds(self) -> int:
        """Return the number of rounds, those before a warm start included."""
        return int(lightgbm().Booster(model_str=self.text).current_iteration())

    def structures(self) -> Iterator[dict[str, Any]]:
        """Yield the root of every tree, as nested dictionaries."""
        for tree in lightgbm().Booster(model_str=self.text).dump_model()["tree_info"]:
            yield tree["tree_structure"]


class Boosting:
    """The rows of a table, binned once for any number of fits."""

    def __init__(self, train: TreeRows, validation: TreeRows, numbers: int) -> None:
        """Bin the rows; ``numbers`` columns are numbers, the others are categories."""
        library = lightgbm()
        categories = list(range(numbers, train.matrix.shape[1]))
        settings = {"verbosity": -1, "num_threads": 1, "feature_pre_filter": False, "max_cat_to_onehot": 4}
        self._width, self._held_out = train.matrix.shape[1], validation
        self._train = library.Dataset(
            train.matrix, train.labels, weight=train.weights, categorical_feature=categories, params=settings
        )
        self._validation = library.Dataset(
            validation.matrix, validation.labels, weight=validation.weights, reference=self._train, params=settings
        )

    def fit(
        self,
        target: LabelEncoding,
        hyperparameters: Trees,
        *,
        seed: int,
        monotone: Sequence[int] = (),
        start: str | None = None,
        report: Callable[[int, float], None] = lambda step, loss: None,
    ) -> Forest:
        """Boost until the validation loss has not fallen for ``patience`` rounds, and keep the best round's trees.

        Args:
            target: The encoding of the labels.
            hyperparameters: All settings of the trees.
            seed: Chooses the rows and features of each tree.
            monotone: Direction of each numeric column, 0 for none; empty if none has one.
            start: LightGBM's text of the trees to add further ones to. If no further tree lowers the validation loss,
                none is kept.
            report: Called after every tenth round with its number (1, 2, ...) and the validation loss; may raise.
        """
        started, library = time.perf_counter(), lightgbm()
        losses: list[float] = []
        begun = None if start is None else self._begun(start, target)

        def note(state: Any) -> None:
            losses.append(float(state.evaluation_result_list[0][2]))
            if len(losses) % STEP == 0:
                report(len(losses) // STEP, losses[-1])

        booster = library.train(
            _parameters(target, hyperparameters, seed) | self._directions(monotone),
            self._train,
            hyperparameters.rounds,
            valid_sets=[self._validation],
            init_model=None if start is None else library.Booster(model_str=start),
            callbacks=[note, library.early_stopping(hyperparameters.patience, verbose=False)],
        )
        best = int(np.argmin(losses)) + 1 if losses else 1
        if begun is not None and not losses[best - 1] < begun.best_loss:
            return replace(begun, duration_s=time.perf_counter() - started)
        earlier = 0 if begun is None else begun.rounds()
        return Forest(
            text=booster.model_to_string(num_iteration=earlier + best),
            units=target.units,
            best_loss=losses[best - 1] if losses else math.inf,
            best_round=best,
            history=[
                EpochLosses(epoch=number, train_loss=None, validation_loss=loss)
                for number, loss in enumerate(losses, 1)
                if number % STEP == 0 or number in (1, best)
            ],
            duration_s=time.perf_counter() - started,
        )

    def _begun(self, text: str, target: LabelEncoding) -> Forest:
        """Return the trees that a fit begins with, and their validation loss."""
        forest, rows = Forest(text, target.units, math.inf, 0), self._held_out
        losses = target.losses(forest.logits(rows.matrix), rows.labels)
        return replace(forest, best_loss=float(np.average(losses, weights=rows.weights)))

    def _directions(self, monotone: Sequence[int]) -> dict[str, Any]:
        """Return LightGBM's settings for the directions that a score must follow; categories have none."""
        if not any(monotone):
            return {}
        signs = [*monotone, *([0] * (self._width - len(monotone)))]
        return {"monotone_constraints": signs, "monotone_constraints_method": "intermediate"}


def _parameters(target: LabelEncoding, hyperparameters: Trees, seed: int) -> dict[str, Any]:
    classes = {"num_class": target.units} if target.task == "multiclass" else {}
    return classes | {
        "objective": _OBJECTIVE[target.task],
        "metric": "l2" if target.task == "regression" else f"{target.task}_logloss".replace("multiclass_", "multi_"),
        "num_leaves": hyperparameters.leaves,
        "learning_rate": hyperparameters.learning_rate,
        "min_data_in_leaf": hyperparameters.min_rows,
        "feature_fraction": hyperparameters.feature_share,
        "bagging_fraction": hyperparameters.row_share,
        "bagging_freq": 1,
        "lambda_l2": hyperparameters.l2,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "feature_pre_filter": False,
        "max_cat_to_onehot": 4,
        "verbosity": -1,
    }


def _distinct(column: NDArray[np.object_]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the different words, and the index of each row's word."""
    encoded = pc.dictionary_encode(pa.array(column, pa.string()))
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
