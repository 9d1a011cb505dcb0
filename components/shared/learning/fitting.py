"""Fit the network on encoded rows: one compiled function per epoch, early stopping, best weights restored.

Keras' own fit costs about as much per step for its callbacks as these small networks cost to compute.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.learning import network
from components.shared.learning.adam import Adam
from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Training

# Small tables get smaller batches, so that an epoch has at least about this many steps.
_STEPS = 20
# The learning rate falls by this factor whenever the validation loss has not improved.
_COOLING = 0.5


@dataclass(frozen=True)
class Rows:
    """Encoded rows (the network's arguments) with labels and weights, as the fit takes them."""

    encoded: dict[str, NDArray[Any]]
    labels: NDArray[np.float32]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.labels)


@dataclass
class Fit:
    """A trained network and how it came about."""

    network: network.WideDeep
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    duration_s: float = 0.0


def steady(seed: int) -> None:
    """Make this process reproducible: seeds, deterministic kernels, one thread (trials run beside each other instead).

    Must be called before TensorFlow computes anything: threads cannot be changed afterwards.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    # Optimising a graph takes longer than these graphs ever run.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    tf.get_logger().setLevel("ERROR")
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def class_weights(labels: NDArray[np.float32], target: LabelEncoding, scheme: str) -> NDArray[np.float32]:
    """Return one weight per class, 1 on average over rows; ``balanced`` gives each class the same total.

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
    """Weigh each row by its class."""
    weights = np.ones(len(labels), np.float32) if len(per_class) == 1 else per_class[labels.astype(int)]
    return Rows(encoded, labels, weights)


def fit(
    train: Rows,
    validation: Rows,
    encoding: Encoding,
    target: LabelEncoding,
    chosen: Training,
    *,
    seed: int,
    report: Callable[[int, float], None] = lambda epoch, loss: None,
) -> Fit:
    """Train until the validation loss has not improved for ``patience`` epochs.

    Args:
        train: Rows to learn from.
        validation: Rows that only decide when to stop.
        encoding: What preprocessing learned; gives the network its size.
        target: What the labels mean.
        chosen: All hyperparameters.
        seed: Decides initial weights, order of rows and dropout.
        report: Called after each epoch with its number (from 1) and validation loss; may raise to stop the trial.

    Returns:
        The network with the weights of its best epoch, and the loss per epoch.
    """
    started = time.perf_counter()
    keras.utils.set_random_seed(seed)
    order = np.random.default_rng(seed)
    model = network.core(encoding, target, chosen)
    model.bias.assign(_prior(train, target))
    optimizer = Adam(model.trainable_variables, chosen.learning_rate)
    batch = min(chosen.batch_size, max(8, math.ceil(len(train) / _STEPS)))
    step_count = math.ceil(len(train) / batch)
    learn, judge = _compiled(model, optimizer, train, validation, target, chosen.l2)
    result, best = Fit(model), model.get_weights()
    for epoch in range(1, chosen.epochs + 1):
        shuffled = np.resize(order.permutation(len(train)), step_count * batch).reshape(step_count, batch)
        train_loss, loss = float(learn(tf.constant(shuffled, tf.int32))), float(judge())
        result.history.append({"epoch": epoch, "train_loss": train_loss, "validation_loss": loss})
        if loss < result.best_loss:
            result.best_loss, result.best_epoch, best = loss, epoch, model.get_weights()
        else:
            optimizer.learning_rate.assign(optimizer.learning_rate * _COOLING)
        report(epoch, loss)
        if not math.isfinite(loss) or epoch - result.best_epoch >= chosen.patience:
            break
    model.set_weights(best)
    _settle(model, train, encoding)
    result.duration_s = time.perf_counter() - started
    return result


def loss_of(target: LabelEncoding, logits: Any, labels: Any) -> Any:
    """Return one loss per row: cross-entropy, or the squared error of the standardised value."""
    if target.task == "multiclass":
        return tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
    if target.task == "binary":
        return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
    return tf.square(logits[:, 0] - labels)


def _compiled(
    model: network.WideDeep, optimizer: Adam, train: Rows, validation: Rows, target: LabelEncoding, l2: float
) -> tuple[Callable[[Any], Any], Callable[[], Any]]:
    """Return the function of one epoch over given batches, and that of the validation loss."""
    held = {name: tf.constant(values) for name, values in train.encoded.items()}
    labels, weights = tf.constant(train.labels), tf.constant(train.weights)
    judged = {name: tf.constant(values) for name, values in validation.encoded.items()}
    judged_labels, judged_weights = tf.constant(validation.labels), tf.constant(validation.weights)
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)
    def learn(batches: Any) -> Any:
        total = tf.constant(0.0)
        for batch in batches:
            with tf.GradientTape() as tape:
                logits = model(**{name: tf.gather(values, batch) for name, values in held.items()}, training=True)
                losses = loss_of(target, logits, tf.gather(labels, batch)) * tf.gather(weights, batch)
                loss = tf.reduce_mean(losses)
                objective = loss + l2 * tf.add_n([tf.reduce_sum(tf.square(weight)) for weight in model.penalised()])
            optimizer.apply(tape.gradient(objective, variables))
            total += loss
        return total / tf.cast(tf.shape(batches)[0], tf.float32)

    @tf.function
    def judge() -> Any:
        losses = loss_of(target, model(**judged), judged_labels)
        return tf.reduce_sum(losses * judged_weights) / tf.reduce_sum(judged_weights)

    return learn, judge


def _prior(train: Rows, target: LabelEncoding) -> NDArray[np.float32]:
    """Start from the answer of a model without inputs: the log-odds of each class, or the mean."""
    if target.task == "regression":
        return np.zeros(1, np.float32)
    shares = np.bincount(train.labels.astype(int), weights=train.weights, minlength=len(target.classes or ())) + 1e-3
    shares = shares / shares.sum()
    if target.task == "binary":
        return np.array([np.log(shares[1] / shares[0])], np.float32)
    return np.log(shares).astype(np.float32)


def _settle(model: network.WideDeep, train: Rows, encoding: Encoding) -> None:
    """Give ids that no training row had (never seen, or never missing) the average of their feature.

    Otherwise a category that appears first in a request would be answered with the random weights it started from.
    """
    if model.wide_ids is None:
        return
    counts = np.bincount(train.encoded["ids"].ravel(), minlength=encoding.ids)
    start, unseen = 1, 1 + len(encoding.keys())
    for feature, words in enumerate(encoding.vocabulary):
        mine = np.array([*range(start, start + len(words) + 1), unseen + feature])
        start += len(words) + 1
        for table in (model.wide_ids, model.table):
            if table is not None:
                values = table.numpy()
                values[mine[counts[mine] == 0]] = np.average(values[mine], axis=0, weights=counts[mine])
                table.assign(values)
