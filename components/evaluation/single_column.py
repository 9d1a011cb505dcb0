"""Measure the best model of one column alone, because a column that knows the answer is often known too late.

A feature that is filled only after the answer (a cancellation reason, a row index of a sorted table) makes a model
look perfect in every test, and worthless in production.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluation.baselines import Learnable
from components.shared.documents.measurements import SingleColumn
from components.shared.inputs.categories import frequent
from components.shared.measures.metric_names import PRIMARY
from components.shared.measures.metrics import scorecard
from components.shared.measures.ranking import Floats

_BINS = 32
_CATEGORIES = 50
_SHORTLIST = 5
# Each bin's mean is drawn to that of all rows as if by this many rows, so that a rare category shows no leak.
_PRIOR_ROWS = 10.0
_ALMOST_ALL = 0.95
"""Share of the candidate's advantage over chance from which a single column is suspicious."""
_STRONG = {"binary": 0.9, "multiclass": 0.9, "regression": 0.8}
_TOO_GOOD = {"binary": 0.995, "multiclass": 0.995, "regression": 0.999}
_CHANCE = {"binary": 0.5, "multiclass": 0.5, "regression": 0.0}


def strongest(
    train: Learnable,
    test: Learnable,
    candidate: Floats,
    *,
    task: str,
    classes: int,
    names: tuple[Sequence[str], Sequence[str]],
) -> SingleColumn | None:
    """Find the column that alone predicts the test rows best, and say whether it looks like a leak.

    The model of a column is the mean answer per bin (up to 32 quantiles, or the 50 most frequent categories; a missing
    value is a bin). The five columns with the largest between-bin sum of squares on the training rows are measured.

    Args:
        train: Training rows, which the means are learned on.
        test: Test rows.
        candidate: The candidate's scores of the test rows.
        task: binary, multiclass or regression.
        classes: Number of classes; 0 for a regression.
        names: Names of the numeric and of the categorical columns.

    Returns:
        None if there are fewer than two columns.
    """
    numeric, categorical = names
    if len(numeric) + len(categorical) < 2:
        return None
    targets = train.truth[:, None].astype(float) if task == "regression" else np.eye(classes)[train.truth.astype(int)]
    average = targets.mean(axis=0)
    columns, explained = [], []
    for i, name in enumerate((*numeric, *categorical)):
        if i < len(numeric):
            bins, test_bins = _number_bins(train.inputs.numeric[:, i], test.inputs.numeric[:, i])
        else:
            j = i - len(numeric)
            bins, test_bins = _category_bins(train.inputs.categorical[:, j], test.inputs.categorical[:, j])
        means = _means(bins, targets)
        columns.append((name, means, test_bins))
        explained.append(float(((means - average)[bins] ** 2).sum()))
    one = np.ones((1, len(test.truth)))

    def measured(score: Floats) -> float:
        return float(scorecard(task, test.truth, score, None).measure(one)[PRIMARY[task]][0])

    best_name, best_value = "", -np.inf
    for i in np.argsort(explained)[::-1][:_SHORTLIST]:
        name, means, test_bins = columns[i]
        score = means[test_bins]
        value = measured(score if task == "multiclass" else score[:, -1])
        if value > best_value:
            best_name, best_value = name, value
    return _judged(best_name, best_value, measured(candidate), task)


def _judged(column: str, alone: float, together: float, task: str) -> SingleColumn:
    metric, chance = PRIMARY[task], _CHANCE[task]
    remark = None
    if alone >= _STRONG[task] and alone - chance >= _ALMOST_ALL * (together - chance):
        remark = (
            f"'{column}' alone reaches {metric} {alone:.3f}, all columns together {together:.3f}: check whether its "
            "value is known before the answer is, and leave it out if not"
        )
    elif together >= _TOO_GOOD[task]:
        remark = (
            f"{metric} {together:.4f} is almost perfect: check whether a column, '{column}' first ({alone:.3f} alone), "
            "is known only after the answer"
        )
    return SingleColumn(column=column, metric=metric, alone=alone, together=together, remark=remark)


def _number_bins(train: NDArray[np.float32], test: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    present = train[~np.isnan(train)]
    inner = np.linspace(0, 1, _BINS + 1)[1:-1]
    cuts = np.unique(np.quantile(present, inner, method="inverted_cdf")) if len(present) else np.empty(0)
    first, second = (
        np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="right"))
        for values in (train, test)
    )
    return first, second


def _category_bins(train: NDArray[Any], test: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    number = {value: i for i, value in enumerate([*frequent(train, _CATEGORIES), ""])}
    first, second = (
        np.array([number.get(value, len(number)) for value in values], dtype=np.intp) for values in (train, test)
    )
    return first, second


def _means(bins: NDArray[np.intp], targets: Floats) -> Floats:
    """Return (bins, classes) the shrunken mean of the targets in each bin."""
    size = max(_BINS, _CATEGORIES) + 3
    rows = np.bincount(bins, minlength=size)
    sums = np.stack([np.bincount(bins, target, size) for target in targets.T], axis=1)
    means: Floats = (sums + _PRIOR_ROWS * targets.mean(axis=0)) / (rows + _PRIOR_ROWS)[:, None]
    return means
