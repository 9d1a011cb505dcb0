"""A model that is fitted in a fraction of a second, to see how the project's models age.

It has the form of the project's plain model: a logistic or ridge regression on piecewise linear numbers and one weight
per category, with one fixed penalty.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from components.shared.inputs.rows import Inputs
from components.shared.learning import encoding
from components.shared.learning.encoding import Encoding

_BINS, _WORDS, _PENALTY = 8, 40, 1.0
_NEWTON_COLUMNS = 500
"""With more columns than this, L-BFGS is faster than Newton's method."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted model, and the preprocessing that it learned."""

    encoding: Encoding
    model: Any

    def answers(self, inputs: Inputs) -> NDArray[np.float64]:
        """Return (n,) values of a regression, or (n, classes) probabilities."""
        columns = _design(self.encoding, inputs)
        answered: NDArray[np.float64] = (
            self.model.predict_proba(columns) if hasattr(self.model, "predict_proba") else self.model.predict(columns)
        )
        return answered


def fit(inputs: Inputs, labels: NDArray[np.float64], *, is_regression: bool) -> Surrogate:
    """Fit the model.

    Args:
        inputs: (n,) rows.
        labels: (n,) values, or class numbers of which there are at least two.
        is_regression: Whether labels are values.
    """
    learned = encoding.learn(inputs, bins=_BINS, max_vocabulary=_WORDS)
    columns = _design(learned, inputs)
    solver = "newton-cholesky" if columns.shape[1] <= _NEWTON_COLUMNS else "lbfgs"
    model = Ridge(alpha=_PENALTY) if is_regression else LogisticRegression(C=1 / _PENALTY, solver=solver)
    with threadpool_limits(1):  # The sums of several threads depend on how many there are.
        return Surrogate(learned, model.fit(columns, labels if is_regression else labels.astype(int)))


def _design(learned: Encoding, inputs: Inputs) -> NDArray[np.float64]:
    """Return (n, columns): buckets of the numbers, flags of missing ones, and an indicator per known category."""
    filled = np.where(np.isfinite(inputs.numeric), inputs.numeric, learned.median).astype(np.float64)
    feature = np.array(learned.bucket_feature, int)
    buckets = np.clip((filled[:, feature] - learned.bucket_low) / learned.bucket_width, 0.0, 1.0)
    flags = np.isnan(inputs.numeric[:, learned.gaps]).astype(float)
    words = [
        (inputs.categorical[:, column] == word).astype(float)[:, None]
        for column, vocabulary in enumerate(learned.vocabulary)
        for word in vocabulary
    ]
    return np.hstack([buckets, flags, *words])
