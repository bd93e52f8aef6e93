"""Boxes and the orthant by arithmetic kernels, which cost less than comparing bits."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..sets.box import Box
from ..sets.nonneg import NonNeg


def project(interval: Box | NonNeg, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return None
    if isinstance(interval, NonNeg):
        # This order keeps NaN in float32, but not in float16.
        return tf.maximum(tf.zeros([], w.dtype), w)
    low, high = interval.representable(w.dtype)
    return tf.minimum(high, tf.maximum(low, w))
