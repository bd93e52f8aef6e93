"""The non-negative orthant."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint


@dataclasses.dataclass(frozen=True, eq=False)
class NonNeg(Constraint):
    """Weights of at least 0: the orthant { x : x >= 0 }.

    The nearest point of x is `max(x, 0)`, weight by weight. Convex, unique; -0.0 is feasible and stays, inf stays, NaN
    stays in its own weight. O(n), no rounding.

    References:
      Lee and Seung, "Learning the parts of objects by non-negative matrix factorization", 1999.
      Chorowski and Zurada, "Learning Understandable Neural Networks With Nonnegative Weight Constraints", 2015.
    """

    cone: ClassVar[bool] = True
    exchangeable: ClassVar[bool] = True
    per_weight: ClassVar[bool] = True

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(x < 0, tf.zeros_like(x), x)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype == tf.float32 and not numerics.few(w):
            # Keeps NaN and -0.0, which it would not in float16; positive subnormals are flushed to zero.
            return tf.maximum(tf.zeros([], w.dtype), w)
        return tf.where(numerics.below_zero(w), tf.zeros_like(w), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(tf.equal(w, 0), axis=0)
