"""Soft thresholding, of weights and of groups, by the formula alone where float32 holds its results."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .. import numerics

# The difference of a float32 weight and a larger float64 threshold is 0 or a normal number of both types.
SAFE_THRESHOLD = 2.0**-60


def project(penalty: Any, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w) or numerics.in_xla():
        return None
    x = tf.cast(w, tf.float64)
    exactly = numerics.outlined(lambda: penalty._project_reference(w))
    if hasattr(penalty, "decay"):
        safe = penalty.scaled("penalty") * penalty.decay() > SAFE_THRESHOLD
        return tf.cond(safe, lambda: tf.cast(penalty._project(x, w.dtype), w.dtype), exactly)
    factor = penalty.factor(x, w.dtype)

    def product() -> tf.Tensor:
        # Adding +0.0 turns -0.0 into 0.0. The zero is computed so that the graph optimizer cannot remove it.
        return tf.nn.bias_add(tf.cast(x * factor, w.dtype), tf.nn.relu(-1.0 - tf.cast(factor, w.dtype)))

    safe = (penalty.scaled("penalty") > 0.0) & tf.math.is_finite(tf.reduce_sum(numerics.l2(x, w.dtype)))
    return tf.cond(safe, product, exactly)
