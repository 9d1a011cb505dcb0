"""Adam on all weights as one vector.

In networks this small, the time of a step is the overhead of its operations. Keras' optimizer runs about a dozen
operations per weight; this one runs about a dozen in total, which makes an epoch four times as fast.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-7


class Adam:
    """Adam (Kingma and Ba, 2015) with bias correction; the rate can be lowered between steps."""

    def __init__(self, variables: Sequence[Any], learning_rate: float) -> None:
        """Initialise both moments to zero."""
        self._variables = list(variables)
        self._sizes = [int(tf.size(variable)) for variable in self._variables]
        self._mean = tf.Variable(tf.zeros(sum(self._sizes)))
        self._square = tf.Variable(tf.zeros(sum(self._sizes)))
        self._steps = tf.Variable(0.0)
        self.learning_rate = tf.Variable(learning_rate, dtype=tf.float32)

    def apply(self, gradients: Sequence[Any]) -> None:
        """Apply one step; the gradients are in the order of the variables."""
        gradient = tf.concat([tf.reshape(tf.convert_to_tensor(part), [-1]) for part in gradients], axis=0)
        steps = self._steps.assign_add(1.0)
        mean = self._mean.assign(_FIRST * self._mean + (1 - _FIRST) * gradient)
        square = self._square.assign(_SECOND * self._square + (1 - _SECOND) * tf.square(gradient))
        rate = self.learning_rate * tf.sqrt(1 - _SECOND**steps) / (1 - _FIRST**steps)
        change = rate * mean / (tf.sqrt(square) + _EPSILON)
        for variable, part in zip(self._variables, tf.split(change, self._sizes), strict=True):
            variable.value.assign_sub(tf.reshape(part, variable.shape))
