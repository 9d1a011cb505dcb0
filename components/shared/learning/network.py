"""The network: preprocessing layers, a wide part, a deep part, and a score layer.

The wide part is linear: it has one weight per encoded number and per category. The deep part is a small multi-layer
perceptron on the same numbers and an embedding of each category; ``hidden: none`` omits it.
"""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from components.shared.learning.encoding import Encoding
from components.shared.learning.labels import LabelEncoding
from components.shared.project import Training

register = keras.saving.register_keras_serializable(package="perennial")


@register
class Numbers(keras.layers.Layer):
    """Impute, clip, normalise and bucketise numbers: (n, k) with NaN -> (n, width) without NaN."""

    def __init__(self, learned: dict[str, Any], **kwargs: Any) -> None:
        """Store the learned preprocessing; see ``Encoding``."""
        super().__init__(**{"trainable": False, "dtype": "float32"} | kwargs)
        self.learned = learned

    def call(self, numeric: Any) -> Any:
        """Encode one batch."""
        learned = {name: tf.constant(constants, tf.float32) for name, constants in self.learned.items()}
        missing = tf.math.is_nan(numeric)
        values = tf.where(missing, learned["median"], numeric)
        values = tf.minimum(tf.maximum(values, learned["low"]), learned["high"])
        parts = [(values - learned["mean"]) * (1.0 / learned["scale"])]
        if self.learned["bucket_feature"]:
            source = tf.gather(values, self.learned["bucket_feature"], axis=1)
            position = (source - learned["bucket_low"]) * (1.0 / learned["bucket_width"])
            parts.append(tf.clip_by_value(position, 0.0, 1.0))
        if self.learned["gaps"]:
            parts.append(tf.cast(tf.gather(missing, self.learned["gaps"], axis=1), tf.float32))
        return tf.concat(parts, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer from a saved model."""
        config: dict[str, Any] = super().get_config() | {"learned": self.learned}
        return config


@register
class Categories(keras.layers.Layer):
    """Map categories to ids: (n, m) text -> (n, m) ids that are unique across features; see ``Encoding.keys``."""

    def __init__(self, keys: list[str], features: int, **kwargs: Any) -> None:
        """Store the vocabulary."""
        super().__init__(**{"trainable": False} | kwargs)
        self.keys, self.features = keys, features
        self.lookup = keras.layers.StringLookup(vocabulary=keys, mask_token=None, num_oov_indices=1)

    def build(self, *_: Any) -> None:
        """Do nothing: the constructor received the vocabulary."""
        self.built = True

    def call(self, categorical: Any) -> Any:
        """Map one batch."""
        prefix = tf.constant([[f"{feature}:" for feature in range(self.features)]])
        ids = tf.cast(
            self.lookup(tf.strings.join([tf.broadcast_to(prefix, tf.shape(categorical)), categorical])), tf.int32
        )
        unseen = tf.range(self.features, dtype=tf.int32) + 1 + len(self.keys)
        return tf.where(ids == 0, unseen, ids)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer from a saved model."""
        config: dict[str, Any] = super().get_config() | {"keys": self.keys, "features": self.features}
        return config


@register
class WideDeep(keras.layers.Layer):
    """Encoded rows -> (n, units) logits, or standardised values for a regression."""

    def __init__(
        self, *, width: int, ids: int, features: int, units: int, hidden: list[int], embedding: int, dropout: float,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Declare both parts.

        Args:
            width: Number of encoded numbers per row.
            ids: Number of category ids of all features together.
            features: Number of categorical features.
            units: Number of outputs.
            hidden: Widths of the hidden layers; empty for no deep part.
            embedding: Width of the embedding of a category.
            dropout: Dropout rate of the hidden layers.
            kwargs: Arguments of ``keras.layers.Layer``.
        """
        super().__init__(**{"dtype": "float32"} | kwargs)
        self.sizes = {"width": width, "ids": ids, "features": features, "units": units}
        self.hidden, self.embedding, self.dropout = list(hidden), embedding, dropout
        self.drop = keras.layers.Dropout(dropout) if dropout else None

    def build(self, *_: Any) -> None:
        """Create the weights. The wide part starts at zero, so a bucket without training rows has no effect."""
        width, ids, features, units = self.sizes.values()
        hidden, embedding = self.hidden, self.embedding
        self.bias = self.add_weight(name="bias", shape=(units,), initializer="zeros")
        self.wide_numbers: Any = (
            self.add_weight(name="wide_numbers", shape=(width, units), initializer="zeros") if width else None
        )
        self.wide_ids: Any = (
            self.add_weight(name="wide_ids", shape=(ids, units), initializer="zeros") if features else None
        )
        self.table: Any = None
        if features and hidden:
            self.table = self.add_weight(
                name="embedding", shape=(ids, embedding), initializer=keras.initializers.RandomNormal(stddev=0.1)
            )
        sizes = [width + features * embedding, *hidden, units] if hidden else []
        self.kernels, self.biases = [], []
        for layer, (before, after) in enumerate(itertools.pairwise(sizes)):
            last = layer == len(hidden)
            scheme = keras.initializers.RandomNormal(stddev=0.01) if last else "he_normal"
            self.kernels.append(self.add_weight(name=f"kernel_{layer}", shape=(before, after), initializer=scheme))
            if not last:
                self.biases.append(self.add_weight(name=f"bias_{layer}", shape=(after,), initializer="zeros"))
        self.built = True

    def call(self, numbers: Any = None, ids: Any = None, training: bool = False) -> Any:
        """Return the sum of both parts; an input without columns is None."""
        output = self.bias
        if numbers is not None:
            output = output + tf.matmul(numbers, self.wide_numbers)
        if ids is not None:
            output = output + tf.reduce_sum(tf.gather(self.wide_ids, ids), axis=1)
        if not self.kernels:
            return output
        parts = [] if numbers is None else [numbers]
        if ids is not None:
            parts.append(tf.reshape(tf.gather(self.table, ids), (-1, self.sizes["features"] * self.table.shape[1])))
        deep = tf.concat(parts, axis=1)
        for kernel, bias in zip(self.kernels, self.biases, strict=False):
            deep = tf.nn.relu(tf.matmul(deep, kernel) + bias)
            if self.drop is not None:
                deep = self.drop(deep, training=training)
        return output + tf.matmul(deep, self.kernels[-1])

    def regularized_weights(self) -> list[Any]:
        """Return the weights under the L2 penalty: all but the biases."""
        return [w for w in (self.wide_numbers, self.wide_ids, self.table, *self.kernels) if w is not None]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer from a saved model."""
        deep = {"hidden": list(self.hidden), "embedding": self.embedding, "dropout": self.dropout}
        config: dict[str, Any] = super().get_config() | self.sizes | deep
        return config


# Registered under the name that saved models already hold.
@keras.saving.register_keras_serializable(package="perennial", name="Answer")
class ScoreLayer(keras.layers.Layer):
    """Logits -> probability (n,), probabilities (n, classes), or a value (n,) in the label's unit."""

    def __init__(self, task: str, mean: float, scale: float, **kwargs: Any) -> None:
        """Store the task, and the mean and scale of the label."""
        super().__init__(**{"trainable": False, "dtype": "float32"} | kwargs)
        self.task, self.mean, self.scale = task, mean, scale

    def call(self, logits: Any) -> Any:
        """Score one batch."""
        if self.task == "multiclass":
            return tf.nn.softmax(logits)
        if self.task == "binary":
            return tf.sigmoid(logits[:, 0])
        return logits[:, 0] * self.scale + self.mean

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that recreate this layer from a saved model."""
        config: dict[str, Any] = super().get_config() | {"task": self.task, "mean": self.mean, "scale": self.scale}
        return config


def core(encoding: Encoding, target: LabelEncoding, hyperparameters: Training) -> WideDeep:
    """Create the trainable part, with initial weights."""
    layer = WideDeep(
        width=encoding.width if encoding.low else 0,
        ids=encoding.ids,
        features=len(encoding.vocabulary),
        units=target.units,
        hidden=[] if hyperparameters.hidden == "none" else [int(width) for width in hyperparameters.hidden.split(",")],
        embedding=hyperparameters.embedding,
        dropout=hyperparameters.dropout,
        name="network",
    )
    layer.build()
    return layer


def preprocessing(encoding: Encoding) -> dict[str, keras.layers.Layer]:
    """Return the preprocessing layer of each input, by name; an input without columns has none."""
    layers: dict[str, keras.layers.Layer] = {}
    if encoding.low:
        layers["numeric"] = Numbers(encoding.numbers(), name="numbers")
    if encoding.vocabulary:
        layers["categorical"] = Categories(encoding.keys(), len(encoding.vocabulary), name="categories")
    return layers


def assemble(encoding: Encoding, target: LabelEncoding, trained: WideDeep) -> keras.Model:
    """Assemble the whole model: preprocessing, trained network and score layer; raw inputs -> ``score``."""
    layers = preprocessing(encoding)
    shapes = {"numeric": (len(encoding.low), "float32"), "categorical": (len(encoding.vocabulary), "string")}
    raw = {name: keras.Input((shapes[name][0],), dtype=shapes[name][1], name=name) for name in layers}
    encoded = {_ENCODED[name]: layers[name](tensor) for name, tensor in raw.items()}
    score = ScoreLayer(target.task, target.mean, target.scale, name="score")(trained(**encoded))
    return keras.Model(inputs=raw, outputs=score, name="perennial")


_ENCODED = {"numeric": "numbers", "categorical": "ids"}


def encode(encoding: Encoding, feed: dict[str, Any], rows: int = 8192) -> dict[str, np.ndarray]:
    """Run the preprocessing only, in batches: raw inputs -> the network's arguments."""
    return {
        _ENCODED[name]: np.concatenate(
            [layer(tf.constant(feed[name][start : start + rows])).numpy() for start in range(0, len(feed[name]), rows)]
        )
        for name, layer in preprocessing(encoding).items()
        if name in feed
    }
