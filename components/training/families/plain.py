"""The plain model: a logistic or ridge regression on piecewise linear numbers and one weight per category.

It is the wide part of the network alone, fitted to its optimum by scikit-learn rather than by gradient steps, and
therefore uses the network's preprocessing, export and parity check. A network must keep up with it to be released.
"""

import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from components.shared.learning import encoding, fitting, network, prepare
from components.shared.learning.labels import LabelEncoding
from components.shared.learning.network import WideDeep
from components.shared.project import Training
from components.training.families.family import FittedModel, Progress
from components.training.families.learned_network import LearnedNetwork
from components.training.families.start import Start

_log = logging.getLogger(__name__)
_BINS = 16
_PENALTIES = (0.1, 1.0, 10.0)
# The Hessian of Newton's method grows with the square of columns x classes; beyond this size L-BFGS is faster.
_NEWTON_SIZE = 500
_MAX_CELLS = 30_000_000
_FEWEST_ROWS = 2_000
_ORIGIN = "fitted from scratch, because its optimum does not depend on a start"


def fit(
    data: prepare.RawData,
    hyperparameters: Training,
    seed: int,
    fitted: Mapping[str, FittedModel],
    start: Start | None = None,
) -> FittedModel:
    """Fit the optimum for each L2 penalty, and keep the one with the lowest validation loss.

    Very large tables are fitted on a sample of the training rows; the description says how many.

    Args:
        data: Training and validation rows.
        hyperparameters: Only the size of the vocabulary and the weights of the classes are used.
        seed: Chooses the sample.
        fitted: Not used.
        start: Not used, since the optimum does not depend on where the search for it begins.
    """
    started = time.perf_counter()
    settings = hyperparameters.model_copy(update={"hidden": "none", "bins": _BINS})
    learned = encoding.learn(data.train, bins=_BINS, max_vocabulary=settings.max_vocabulary)
    core = network.core(learned, data.target, settings)
    per_class = fitting.class_weights(data.train_labels, data.target, settings.class_weight)
    chosen = _sample(len(data.train), core.sizes["width"] + core.sizes["ids"], seed)
    train = fitting.rows(network.encode(learned, data.train.take(chosen).feed()), data.train_labels[chosen], per_class)
    validation = prepare.encoded(data.validation, data.validation_labels, learned, per_class)
    columns = _design(train, core)
    fits, share = [], validation.weights / validation.weights.mean()
    for penalty in _PENALTIES:
        with threadpool_limits(1):  # The sums of several threads depend on how many there are.
            weights, bias = _optimum(columns, train, data.target, penalty)
        _assign(core, train, learned, weights, bias)
        logits = fitting.logits(core, validation.encoded, validation.expand)
        losses = data.target.losses(logits, data.validation_labels) * share
        fits.append((losses, logits, penalty, core.get_weights()))
    losses, logits, penalty, best = min(fits, key=lambda attempt: attempt[0].mean())
    core.set_weights(best)
    _log.info("plain model: validation loss %.5f with the penalty %g", losses.mean(), penalty)
    kind = "ridge regression" if data.target.task == "regression" else "logistic regression"
    return FittedModel(
        family="plain",
        encoding=learned,
        learned=LearnedNetwork(learned, data.target, core),
        progress=Progress(float(losses.mean()), time.perf_counter() - started),
        hyperparameters={"bins": _BINS, "l2_penalty": penalty},
        validation_logits=logits,
        validation_losses=losses,
        description=f"a {kind} with a piecewise linear curve per number and a weight per category, "
        f"fitted on {len(train):,} rows",
        origin="" if start is None else _ORIGIN,
    )


def _sample(rows: int, width: int, seed: int) -> NDArray[np.int64]:
    """Return the numbers of the rows to fit: a random sample if there are too many for the number of columns."""
    largest = max(_FEWEST_ROWS, _MAX_CELLS // max(1, width))
    if rows <= largest:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, largest, replace=False))


def _design(train: fitting.Rows, core: WideDeep) -> Any:
    """Return (rows, width + ids) float64: the encoded numbers and one indicator per category id."""
    parts = []
    if "numbers" in train.encoded:
        parts.append(scipy.sparse.csr_array(train.encoded["numbers"].astype(np.float64)))
    if "ids" in train.encoded:
        ids = train.encoded["ids"]
        starts = np.arange(0, ids.size + 1, ids.shape[1])
        parts.append(
            scipy.sparse.csr_array((np.ones(ids.size), ids.ravel(), starts), shape=(len(ids), core.sizes["ids"]))
        )
    columns = scipy.sparse.hstack(parts, format="csr")
    return columns.toarray() if columns.shape[1] <= _NEWTON_SIZE else columns


def _optimum(
    columns: Any, train: fitting.Rows, target: LabelEncoding, penalty: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the weights (columns, units) and the bias (units,) with the lowest penalised loss."""
    if target.task == "regression":
        ridge = Ridge(alpha=penalty).fit(columns, train.labels.astype(np.float64), sample_weight=train.weights)
        return ridge.coef_.reshape(-1, 1), np.atleast_1d(ridge.intercept_).astype(np.float64)
    small = columns.shape[1] * target.units <= _NEWTON_SIZE
    solver = {"solver": "newton-cholesky"} if small else {"solver": "lbfgs", "max_iter": 300}
    model = LogisticRegression(C=1 / penalty, **solver).fit(
        columns, train.labels.astype(int), sample_weight=train.weights
    )
    if target.task == "binary":
        return model.coef_.T, model.intercept_
    # A class without a training row is less probable than one row in all of them.
    weights = np.zeros((columns.shape[1], target.units))
    bias = np.full(target.units, model.intercept_.min() - math.log(len(train) + 1))
    weights[:, model.classes_], bias[model.classes_] = model.coef_.T, model.intercept_
    return weights, bias


def _assign(
    core: WideDeep,
    train: fitting.Rows,
    learned: encoding.Encoding,
    weights: NDArray[np.float64],
    bias: NDArray[np.float64],
) -> None:
    """Put the weights into the network; an unknown category gets the average weights of its feature."""
    width = 0 if core.wide_numbers is None else core.sizes["width"]
    core.bias.assign(bias)
    if core.wide_numbers is not None:
        core.wide_numbers.assign(weights[:width])
    if core.wide_ids is not None:
        core.wide_ids.assign(weights[width:])
    fitting.average_unseen_ids(core, train, learned)
