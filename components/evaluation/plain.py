"""The plain model that a network must keep up with: a line per feature's spline, and one weight per category."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import OneHotEncoder, SplineTransformer

from components.shared.inputs.rows import Inputs
from components.shared.measures.ranking import Floats

_KNOTS = 5
_CATEGORIES = 50
# A number with fewer distinct values is taken as it is.
_CONTINUOUS = 6
_MAX_ROWS = 50_000
_MAX_CELLS = 20_000_000
_NEWTON_SIZE = 500


@dataclass(frozen=True)
class Design:
    """From raw inputs to the columns of a linear model; everything in it was learned on training rows."""

    median: Floats
    scale: Floats
    gaps: NDArray[np.intp]
    curved: NDArray[np.intp]
    straight: NDArray[np.intp]
    splines: SplineTransformer | None
    onehot: OneHotEncoder | None

    @staticmethod
    def learn(train: Inputs) -> "Design":
        """Learn medians, knots and categories."""
        numbers = train.numeric.astype(np.float64)
        missing = np.isnan(numbers)
        empty = missing.all(axis=0)
        median = np.nanmedian(np.where(empty, 0.0, numbers), axis=0) if numbers.size else np.zeros(numbers.shape[1])
        filled = np.where(missing, median, numbers)
        distinct = np.array([len(np.unique(column)) for column in filled.T])
        curved = np.flatnonzero(distinct >= _CONTINUOUS)
        splines = None
        if len(curved):
            knots = np.stack([_knots(column) for column in filled[:, curved].T], axis=1)
            # Beyond the training range the spline stays where it was at its end.
            splines = SplineTransformer(knots=knots, extrapolation="constant", include_bias=False)
            splines.fit(filled[:, curved])
        onehot = None
        if train.categorical.shape[1]:
            onehot = OneHotEncoder(
                max_categories=_CATEGORIES, handle_unknown="infrequent_if_exist", sparse_output=False, drop=None
            ).fit(train.categorical)
        spread = filled.std(axis=0) if len(filled) else np.ones(filled.shape[1])
        return Design(
            median=median,
            scale=np.where(spread > 0, spread, 1.0),
            gaps=np.flatnonzero(missing.any(axis=0) & ~empty),
            curved=curved,
            straight=np.flatnonzero((distinct >= 2) & (distinct < _CONTINUOUS)),
            splines=splines,
            onehot=onehot,
        )

    def columns(self, inputs: Inputs) -> Floats:
        """Return (rows, columns) without gaps."""
        numbers = inputs.numeric.astype(np.float64)
        missing = np.isnan(numbers)
        filled = np.where(missing, self.median, numbers)
        parts = [((filled - self.median) / self.scale)[:, self.straight], missing[:, self.gaps].astype(float)]
        if self.splines is not None:
            parts.append(self.splines.transform(filled[:, self.curved]))
        if self.onehot is not None:
            parts.append(self.onehot.transform(inputs.categorical))
        return np.hstack(parts)


@dataclass(frozen=True)
class Plain:
    """A fitted logistic or ridge regression."""

    design: Design
    model: LogisticRegression | Ridge
    classes: int
    rows: int
    description: str

    def score(self, inputs: Inputs) -> Floats:
        """Return (rows, classes) probabilities, or (rows, 1) predictions."""
        columns = self.design.columns(inputs)
        if isinstance(self.model, Ridge):
            predictions: Floats = self.model.predict(columns)[:, None]
            return predictions
        score = np.zeros((len(inputs), self.classes))
        score[:, self.model.classes_] = self.model.predict_proba(columns)
        return score


def fit(train: Inputs, truth: NDArray[Any], *, task: str, classes: int, seed: int) -> Plain:
    """Fit the plain model on the training rows, on a seeded sample of them where there are very many.

    Args:
        train: The training rows.
        truth: (rows,) class index, or the label of a regression.
        task: binary, multiclass or regression.
        classes: Number of classes; 1 for a regression.
        seed: Chooses the sample.
    """
    width = max(1, (_KNOTS + 2) * train.numeric.shape[1] + _CATEGORIES * train.categorical.shape[1])
    rows = min(len(train), _MAX_ROWS, max(2_000, _MAX_CELLS // width))
    chosen = np.arange(len(train))
    if rows < len(train):
        chosen = np.sort(np.random.default_rng(seed).choice(len(train), rows, replace=False))
    design = Design.learn(train.take(chosen))
    columns = design.columns(train.take(chosen))
    if task == "regression":
        model = Ridge(alpha=1.0).fit(columns, truth[chosen])
        kind = "ridge regression"
    else:
        # Newton's method reaches the optimum in a few passes; its matrix grows with the square of columns x classes.
        small = columns.shape[1] * (1 if classes == 2 else classes) <= _NEWTON_SIZE
        solver = {"solver": "newton-cholesky"} if small else {"solver": "lbfgs", "max_iter": 200}
        model = LogisticRegression(C=1.0, **solver).fit(columns, truth[chosen].astype(int))
        kind = "logistic regression"
    description = (
        f"{kind} on splines of {train.numeric.shape[1]} numeric and one-hot columns of {train.categorical.shape[1]} "
        f"categorical features, fitted on {rows:,} training rows"
    )
    return Plain(design, model, classes, rows, description)


def _knots(column: Floats) -> Floats:
    """Quantiles as knots; evenly spaced ones where many equal values make quantiles coincide."""
    knots = np.quantile(column, np.linspace(0, 1, _KNOTS))
    span = knots[-1] - knots[0]
    return knots if (np.diff(knots) > 1e-9 * span).all() else np.linspace(knots[0], knots[-1], _KNOTS)
