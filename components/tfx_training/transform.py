"""TFX's Transform: the preprocessing of our network, computed over the training rows by TensorFlow Transform.

It is the encoding of ``components.shared.learning.encoding``: missing values become the median, numbers are clipped,
normalised and bucketised piecewise linearly, categories become ids. Quantiles are TensorFlow Transform's approximate
ones.
"""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components.shared.inputs import rows
from components.shared.project import Project, Training

NUMBERS, IDS, LABEL = "numbers", "ids", "label"
"""Names of the transformed features: (n, width) float32, (n, features) int64, (n,) float32."""
_QUANTILE_ERROR = 0.0005
_TINY = 1e-30


def preprocessing_fn(inputs: dict[str, tf.SparseTensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Encode a batch of raw features.

    Args:
        inputs: Raw features by name; at most one value a row.
        custom_config: ``project`` and ``hyperparameters``, as JSON.

    Returns:
        The transformed features; a project without numeric (or categorical) features lacks the part.
    """
    project = Project.model_validate_json(custom_config["project"])
    hyperparameters = Training.model_validate_json(custom_config["hyperparameters"])
    outputs = {LABEL: _dense(inputs[project.label.column], float("nan"))}
    numeric, categorical = rows.numeric_names(project), rows.categorical_names(project)
    if numeric:
        outputs[NUMBERS] = _numbers([inputs[name] for name in numeric], hyperparameters.bins)
    if categorical:
        outputs[IDS] = _ids([inputs[name] for name in categorical], hyperparameters.max_vocabulary)
    return outputs


def vocabulary(number: int) -> str:
    """Return the name of the vocabulary of the categorical feature with this number; TensorFlow takes ASCII only."""
    return f"vocabulary_{number}"


def _dense(column: Any, default: Any) -> tf.Tensor:
    """Return (n,) the value of each row."""
    if not isinstance(column, tf.SparseTensor):
        return tf.reshape(column, [-1])
    shape = [column.dense_shape[0], 1]
    return tf.squeeze(tf.sparse.to_dense(tf.SparseTensor(column.indices, column.values, shape), default), axis=1)


def _numbers(columns: list[Any], bins: int) -> tf.Tensor:
    """Return (n, k + k * bins + k): normalised values, positions in buckets, flags of missing values."""
    raw = tf.stack([_dense(column, float("nan")) for column in columns], axis=1)
    missing = tf.math.is_nan(raw)
    infinite = tf.fill(tf.shape(raw), float("inf"))
    # One analysis of all columns: each is a pass of Beam. Quantiles leave NaN out.
    low = _finite(tft.min(tf.where(missing, infinite, raw), reduce_instance_dims=False))
    high = _finite(tft.max(tf.where(missing, -infinite, raw), reduce_instance_dims=False))
    median = _finite(tft.quantiles(raw, 2, epsilon=_QUANTILE_ERROR, reduce_instance_dims=False))[:, 0]
    cuts = _finite(tft.quantiles(raw, bins, epsilon=_QUANTILE_ERROR, reduce_instance_dims=False))
    values = tf.clip_by_value(tf.where(missing, median, raw), low, high)
    mean = tft.mean(values, reduce_instance_dims=False)
    deviation = tf.sqrt(tft.var(values, reduce_instance_dims=False))
    edges = tf.concat([low[:, tf.newaxis], cuts, high[:, tf.newaxis]], axis=1)
    width = edges[:, 1:] - edges[:, :-1]
    # A value that many rows have takes several quantiles: buckets without width say nothing.
    inside = (values[:, :, tf.newaxis] - edges[:, :-1]) / tf.where(width > _TINY, width, 1.0)
    position = tf.where(width > _TINY, tf.clip_by_value(inside, 0.0, 1.0), 0.0)
    normalised = (values - mean) / tf.where(deviation > _TINY, deviation, 1.0)
    flat = tf.reshape(position, [-1, len(columns) * bins])
    return tf.concat([normalised, flat, tf.cast(missing, tf.float32)], axis=1)


def _finite(value: tf.Tensor) -> tf.Tensor:
    """Return 0 for what a column without values has."""
    return tf.where(tf.math.is_finite(value), value, tf.zeros_like(value))


def _ids(columns: list[Any], largest: int) -> tf.Tensor:
    """Return (n, features) ids as ``components.shared.learning.encoding.Encoding.keys`` numbers them."""
    columns_of_ids, base = [], tf.constant(1, tf.int64)
    for number, column in enumerate(columns):
        words = _dense(column, "")
        place = tft.compute_and_apply_vocabulary(
            words, default_value=-1, top_k=largest, vocab_filename=vocabulary(number)
        )
        # The first id of a feature is that of a missing value.
        columns_of_ids.append(tf.where(words == "", base, tf.where(place < 0, tf.zeros_like(place), base + 1 + place)))
        base += 1 + tft.experimental.get_vocabulary_size_by_name(vocabulary(number))
    unseen = base + tf.range(len(columns), dtype=tf.int64)
    ids = tf.stack(columns_of_ids, axis=1)
    return tf.where(ids == 0, unseen, ids)
