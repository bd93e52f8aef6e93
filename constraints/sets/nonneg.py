"""The non-negative orthant."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint


@dataclasses.dataclass(frozen=True, eq=False)
class NonNeg(Constraint):
    """Weights of at least 0: argmin_p ||p - x|| over the orthant { p : p >= 0 }.

    The nearest point is `max(x, 0)`, weight by weight. Convex, unique; inf stays, NaN stays in its own weight. O(n), no
    rounding.

    References:
      Lee and Seung, "Learning the parts of objects by non-negative matrix factorization", 1999.
      Chorowski and Zurada, "Learning Understandable Neural Networks With Nonnegative Weight Constraints", 2015.
    """

    cone: ClassVar[bool] = True
    permutation_invariant: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(x < 0, tf.zeros_like(x), x)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return tf.where(numerics.below_zero(w), tf.zeros_like(w), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.reduce_any(tf.equal(w, 0), axis=0)
