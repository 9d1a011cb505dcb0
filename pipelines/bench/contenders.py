"""The models that ours are compared with: boosting libraries with early stopping, three tree sizes each.

Each contender is fitted on the training rows, stopped and chosen on the validation rows, and nothing else is tuned.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import log_loss, mean_squared_error

LEAVES = (15, 31, 63)
_ROUNDS, _PATIENCE, _RATE = 2000, 50, 0.05
# HistGradientBoosting takes no category above this number.
_MOST_CODES = 254
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Contest:
    """The rows of one split as a matrix; the last ``categories`` columns are codes of categories, NaN where unknown."""

    task: str
    train: Matrix
    validation: Matrix
    test: Matrix
    train_labels: NDArray[np.float64]
    validation_labels: NDArray[np.float64]
    categories: int
    classes: int

    @property
    def codes(self) -> list[int]:
        """Return the indices of the columns of categories."""
        width = self.train.shape[1]
        return list(range(width - self.categories, width))

    def chosen(self, fits: Sequence[Callable[[Matrix], NDArray[np.float64]]]) -> NDArray[np.float64]:
        """Return what the fit with the lowest validation loss answers to the test rows."""
        return min(fits, key=lambda fit: self._loss(fit(self.validation)))(self.test)

    def _loss(self, answers: NDArray[np.float64]) -> float:
        if self.task == "regression":
            return float(mean_squared_error(self.validation_labels, answers))
        loss = log_loss(self.validation_labels, answers, labels=range(self.classes))
        return math.inf if math.isnan(loss) else float(loss)


def of_lightgbm(contest: Contest) -> NDArray[np.float64]:
    """LightGBM with its own handling of categories."""
    objective = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[contest.task]
    classes = {"num_class": contest.classes} if contest.task == "multiclass" else {}
    settings = {"objective": objective, "learning_rate": _RATE, "verbosity": -1, "num_threads": 1, **classes}

    def fit(leaves: int) -> Callable[[Matrix], NDArray[np.float64]]:
        train = lightgbm.Dataset(contest.train, contest.train_labels, categorical_feature=contest.codes)
        booster = lightgbm.train(
            settings | {"num_leaves": leaves},
            train,
            _ROUNDS,
            valid_sets=[lightgbm.Dataset(contest.validation, contest.validation_labels, reference=train)],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        return lambda rows: np.asarray(booster.predict(rows))

    return contest.chosen([fit(leaves) for leaves in LEAVES])


def of_scikit_learn(contest: Contest) -> NDArray[np.float64]:
    """scikit-learn's HistGradientBoosting; the rarest of many categories are one."""
    family: Any = HistGradientBoostingRegressor if contest.task == "regression" else HistGradientBoostingClassifier
    train, validation = (_limited(rows, contest.codes) for rows in (contest.train, contest.validation))

    def fit(leaves: int) -> Callable[[Matrix], NDArray[np.float64]]:
        model = family(
            learning_rate=_RATE, max_iter=_ROUNDS, max_leaf_nodes=leaves, early_stopping=True, random_state=1,
            n_iter_no_change=_PATIENCE, categorical_features=contest.codes or None,
        ).fit(train, contest.train_labels, X_val=validation, y_val=contest.validation_labels)  # fmt: skip
        if contest.task == "regression":
            return lambda rows: model.predict(_limited(rows, contest.codes))
        columns = model.classes_.astype(int)

        def probabilities(rows: Matrix) -> NDArray[np.float64]:
            answers = np.zeros((len(rows), contest.classes))
            answers[:, columns] = model.predict_proba(_limited(rows, contest.codes))
            return answers[:, 1] if contest.task == "binary" else answers

        return probabilities

    return contest.chosen([fit(leaves) for leaves in LEAVES])


def of_xgboost(contest: Contest) -> NDArray[np.float64]:
    """XGBoost with its own handling of categories."""
    import xgboost

    kinds = ["c" if column in contest.codes else "q" for column in range(contest.train.shape[1])]
    objective = {"binary": "binary:logistic", "multiclass": "multi:softprob", "regression": "reg:squarederror"}
    classes = {"num_class": contest.classes} if contest.task == "multiclass" else {}
    settings = {"objective": objective[contest.task], "eta": _RATE, "nthread": 1, "grow_policy": "lossguide", **classes}

    def rows_of(rows: Matrix, labels: Any = None) -> Any:
        return xgboost.DMatrix(rows, labels, feature_types=kinds, enable_categorical=True)

    train = rows_of(contest.train, contest.train_labels)
    validation = rows_of(contest.validation, contest.validation_labels)

    def fit(leaves: int) -> Callable[[Matrix], NDArray[np.float64]]:
        booster = xgboost.train(
            settings | {"max_leaves": leaves, "max_depth": 0}, train, _ROUNDS, evals=[(validation, "validation")],
            early_stopping_rounds=_PATIENCE, verbose_eval=False,
        )  # fmt: skip
        return lambda rows: booster.predict(rows_of(rows), iteration_range=(0, booster.best_iteration + 1))

    return contest.chosen([fit(leaves) for leaves in LEAVES])


def available() -> Mapping[str, Callable[[Contest], NDArray[np.float64]]]:
    """Return the contenders that are installed, by name."""
    optional = {"XGBoost": of_xgboost} if find_spec("xgboost") else {}
    return {"LightGBM": of_lightgbm, "HistGradientBoosting": of_scikit_learn, **optional}


def _limited(rows: Matrix, codes: Sequence[int]) -> Matrix:
    limited = rows.copy()
    limited[:, codes] = np.minimum(limited[:, codes], _MOST_CODES)
    return limited
