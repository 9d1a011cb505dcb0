"""A SavedModel as other projects of TFX export them: another preprocessing, in the shapes that parsers allow."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

PARSED: Mapping[str, Any] = {
    "age": tf.io.FixedLenFeature([1], tf.int64),
    "spent": tf.io.FixedLenFeature([1], tf.float32, default_value=7.0),
    "usage": tf.io.VarLenFeature(tf.float32),
    "plan": tf.io.VarLenFeature(tf.string),
    "region": tf.io.FixedLenFeature([], tf.string, default_value="elsewhere"),
}
"""Dense and sparse, with and without a default, numbers of both kinds, and text."""


class Foreign(tf.Module):
    """Two softmax outputs from features that are looked up, compared, filled in and scaled.

    Args:
        parsed: What the signature parses.
        words: Looks up the plans, which are sparse; None is a table without other words.
    """

    def __init__(self, parsed: Mapping[str, Any] = PARSED, words: Callable[[Any], Any] | None = None) -> None:
        super().__init__()
        content = tf.lookup.KeyValueTensorInitializer(["basic", "plus"], tf.constant([0, 1], tf.int64))
        self.table = tf.lookup.StaticHashTable(content, -1)
        self.weights = tf.Variable([[0.4, -0.4], [0.02, -0.02], [0.3, -0.1], [-0.6, 0.2], [0.5, 0.1]])
        self._parsed, self._words = dict(parsed), words or self.table.lookup

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples: Any) -> dict[str, Any]:
        """Return ``probabilities``: (n, 2)."""
        read = tf.io.parse_example(examples, self._parsed)
        plan = read["plan"]
        found = tf.SparseTensor(plan.indices, self._words(plan.values), [plan.dense_shape[0], 1])
        columns = [
            tf.sparse.to_dense(tf.SparseTensor(read["usage"].indices, read["usage"].values, found.dense_shape), -2.5),
            tf.cast(read["age"], tf.float32) / 10.0,
            tf.math.log(1.0 + tf.abs(read["spent"])),
            tf.cast(tf.sparse.to_dense(found, -7), tf.float32),
            tf.cast(read["region"] == "n", tf.float32)[:, tf.newaxis],
        ]
        return {"probabilities": tf.nn.softmax(tf.concat(columns, axis=1) @ self.weights)}


def save(folder: Path, model: tf.Module) -> Path:
    """Export a model as TFX's Trainer does."""
    tf.saved_model.save(model, str(folder), signatures={"serving_default": model.serve})
    return folder
