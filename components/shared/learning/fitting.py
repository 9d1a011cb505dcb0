"""Fit the network on encoded rows: one compiled function per epoch, early stopping, and the best weights at the end.

Keras' own ``fit`` spends about as much time per step on callbacks as on the computation of networks this small.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.documents.training_history import EpochLosses
from components.shared.learning import network
from components.shared.learning.adam import Adam
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Training

# Small tables use smaller batches, so that an epoch has at least about this many steps.
_STEPS = 20
# The learning rate is multiplied by this factor after each epoch that did not improve the validation loss.
_COOLING = 0.5
_BATCH = 65_536


@dataclass(frozen=True)
class Rows:
    """Encoded rows (the network's arguments) with their labels and weights.

    An encoded number takes as many values as it has buckets. With ``expand``, ``encoded`` has the numbers as they were,
    and a batch is encoded whenever it is used: slower, with the same result.
    """

    encoded: dict[str, NDArray[Any]]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]
    expand: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)


@dataclass
class Fit:
    """A trained network and the history of its training."""

    network: network.WideDeep
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[EpochLosses] = field(default_factory=list)
    duration_s: float = 0.0


def steady(seed: int) -> None:
    """Make this process reproducible: fixed seeds, deterministic kernels and one thread (trials run in parallel).

    Call it before TensorFlow computes anything, because the number of threads cannot be changed afterwards.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # Optimising these graphs takes longer than running them.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.get_logger().setLevel("ERROR")
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def class_weights(labels: NDArray[np.float32], target: LabelEncoding, scheme: str) -> NDArray[np.float32]:
    """Return one weight per class, with mean 1 over all rows; ``balanced`` gives each class the same total weight.

    >>> label = LabelEncoding("binary", ("no", "yes"))
    >>> class_weights(np.array([0, 0, 0, 0, 1], np.float32), label, "balanced").tolist()
    [0.625, 2.5]
    """
    if target.classes is None:
        return np.ones(1, np.float32)
    counts = np.bincount(labels.astype(int), minlength=len(target.classes))
    if scheme == "none":
        return np.ones(len(counts), np.float32)
    return (len(labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))).astype(np.float32)


def rows(encoded: dict[str, NDArray[Any]], labels: NDArray[np.float32], per_class: NDArray[np.float32]) -> Rows:
    """Combine encoded rows with their labels and the weights of their classes."""
    return Rows(encoded, labels, row_weights(labels, per_class))


def row_weights(labels: NDArray[np.float32], per_class: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n,) the weight of each row's class; a single weight is that of all rows."""
    return np.ones(len(labels), np.float32) if len(per_class) == 1 else per_class[labels.astype(int)]


def fit(
    train: Rows,
    validation: Rows,
    encoding: Encoding,
    target: LabelEncoding,
    hyperparameters: Training,
    *,
    seed: int,
    start: Sequence[NDArray[np.float32]] | None = None,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Fit:
    """Train until the validation loss has not improved for ``patience`` epochs.

    Args:
        train: Training rows.
        validation: Validation rows, which only determine when training stops.
        encoding: The learned preprocessing, which determines the size of the network.
        target: The encoding of the labels.
        hyperparameters: All hyperparameters.
        seed: Seed of the initial weights, the order of the rows and dropout.
        start: Weights to begin with, which are kept if no epoch lowers the validation loss; None for initial ones.
        report: Called after each epoch with its number (from 1) and validation loss; may raise to stop the trial.

    Returns:
        The network with the weights of its best epoch, and the loss per epoch.
    """
    started = time.perf_counter()
    keras.utils.set_random_seed(seed)
    order = np.random.default_rng(seed)
    model = network.core(encoding, target, hyperparameters)
    if start is None:
        model.bias.assign(_prior(train, target))
    else:
        model.set_weights(list(start))
    optimizer = Adam(model.trainable_variables, hyperparameters.learning_rate)
    batch = min(hyperparameters.batch_size, max(8, math.ceil(len(train) / _STEPS)))
    step_count = math.ceil(len(train) / batch)
    train_epoch, validate = _compiled(model, optimizer, train, validation, target, hyperparameters.l2)
    result, best = Fit(model), model.get_weights()
    if start is not None:
        result.best_loss = float(validate())
    for epoch in range(1, hyperparameters.epochs + 1):
        shuffled = np.resize(order.permutation(len(train)), step_count * batch).reshape(step_count, batch)
        train_loss, loss = float(train_epoch(tf.constant(shuffled, tf.int32))), float(validate())
        result.history.append(EpochLosses(epoch=epoch, train_loss=train_loss, validation_loss=loss))
        if loss < result.best_loss:
            result.best_loss, result.best_epoch, best = loss, epoch, model.get_weights()
        else:
            optimizer.learning_rate.assign(optimizer.learning_rate * _COOLING)
        report(epoch, loss)
        if not math.isfinite(loss) or epoch - result.best_epoch >= hyperparameters.patience:
            break
    model.set_weights(best)
    if start is None:
        average_unseen_ids(model, train, encoding)
    else:
        _keep_unseen_ids(model, train, start)
    result.duration_s = time.perf_counter() - started
    return result


def logits(
    core: network.WideDeep, encoded: dict[str, NDArray[Any]], expand: Callable[[Any], Any] | None = None
) -> NDArray[np.float64]:
    """Return (n, units) what a network answers to encoded rows, computed in batches; see ``Rows`` for ``expand``."""
    batches = []
    for start, end in _batches(len(next(iter(encoded.values())))):
        some = _arguments({name: tf.constant(values[start:end]) for name, values in encoded.items()}, expand)
        batches.append(core(**some).numpy())
    answers: NDArray[np.float64] = np.concatenate(batches).astype(np.float64)
    return answers


def _arguments(some: dict[str, Any], expand: Callable[[Any], Any] | None) -> dict[str, Any]:
    """Return the network's arguments: the rows as they are, or with the numbers encoded now."""
    return some if expand is None else some | {"numbers": expand(some["numbers"])}


def _batches(rows: int) -> list[tuple[int, int]]:
    """Return the ends of the batches in which a network answers."""
    return [(start, min(start + _BATCH, rows)) for start in range(0, rows, _BATCH)]


def loss_of(target: LabelEncoding, logits: Any, labels: Any) -> Any:
    """Return one loss per row: the cross-entropy, or the squared error of the standardised label."""
    if target.task == "multiclass":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    if target.task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
    return tf.square(logits[:, 0] - labels)


def _compiled(
    model: network.WideDeep, optimizer: Adam, train: Rows, validation: Rows, target: LabelEncoding, l2: float
) -> tuple[Callable[[Any], Any], Callable[[], Any]]:
    """Return two compiled functions: one trains an epoch on given batches, the other computes the validation loss."""
    train_inputs = {name: tf.constant(values) for name, values in train.encoded.items()}
    labels, weights = tf.constant(train.labels), tf.constant(train.weights)
    validation_inputs = {name: tf.constant(values) for name, values in validation.encoded.items()}
    validation_labels, validation_weights = tf.constant(validation.labels), tf.constant(validation.weights)
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)
    def train_epoch(batches: Any) -> Any:
        total = tf.constant(0.0)
        for batch in batches:
            with tf.GradientTape() as tape:
                some = {name: tf.gather(values, batch) for name, values in train_inputs.items()}
                logits = model(**_arguments(some, train.expand), training=True)
                losses = loss_of(target, logits, tf.gather(labels, batch)) * tf.gather(weights, batch)
                loss = tf.reduce_mean(losses)
                objective = loss + l2 * tf.add_n(
                    [tf.reduce_sum(tf.square(weight)) for weight in model.regularized_weights()]
                )
            optimizer.apply(tape.gradient(objective, variables))
            total += loss
        return total / tf.cast(tf.shape(batches)[0], tf.float32)

    @tf.function
    def validate() -> Any:
        parts = []
        for start, end in _batches(len(validation)):
            some = {name: values[start:end] for name, values in validation_inputs.items()}
            parts.append(loss_of(target, model(**_arguments(some, validation.expand)), validation_labels[start:end]))
        losses = tf.concat(parts, axis=0)
        return tf.reduce_sum(losses * validation_weights) / tf.reduce_sum(validation_weights)

    return train_epoch, validate


def _prior(train: Rows, target: LabelEncoding) -> NDArray[np.float32]:
    """Return the initial bias: the log-odds of each class, or the mean of the standardised label."""
    if target.task == "regression":
        return np.zeros(1, np.float32)
    shares = np.bincount(train.labels.astype(int), weights=train.weights, minlength=len(target.classes or ())) + 1e-3
    shares = shares / shares.sum()
    if target.task == "binary":
        return np.array([np.log(shares[1] / shares[0])], np.float32)
    log_shares: NDArray[np.float32] = np.log(shares).astype(np.float32)
    return log_shares


def average_unseen_ids(model: network.WideDeep, train: Rows, encoding: Encoding) -> None:
    """Set the weights of ids that no training row has (unknown or missing) to the average of their feature.

    Otherwise a category that first appears in a request would be scored with its random initial weights.
    """
    if model.wide_ids is None:
        return
    counts = np.bincount(train.encoded["ids"].ravel(), minlength=encoding.ids)
    start, unseen = 1, 1 + len(encoding.keys())
    for feature, words in enumerate(encoding.vocabulary):
        ids = np.array([*range(start, start + len(words) + 1), unseen + feature])
        start += len(words) + 1
        for table in (model.wide_ids, model.table):
            if table is not None:
                values = table.numpy()
                values[ids[counts[ids] == 0]] = np.average(values[ids], axis=0, weights=counts[ids])
                table.assign(values)


def _keep_unseen_ids(model: network.WideDeep, train: Rows, start: Sequence[NDArray[np.float32]]) -> None:
    """Give ids that no training row has the weights that they began with.

    The penalty alone has moved them, and an earlier model knew what they mean.
    """
    if model.wide_ids is None:
        return
    is_unseen = np.bincount(train.encoded["ids"].ravel(), minlength=model.sizes["ids"]) == 0
    for variable, before in zip(model.weights, start, strict=True):
        if variable is model.wide_ids or variable is model.table:
            values = variable.numpy()
            values[is_unseen] = before[is_unseen]
            variable.assign(values)
