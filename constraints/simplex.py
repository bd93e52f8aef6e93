"""The simplex."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from constraints import numerics, threshold
from constraints.base import Constraint, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class Simplex(Constraint):
    """Groups without a negative weight that sum to `total`: the scaled simplex { x : x >= 0, sum x_i = s }.

    The nearest point of x is `max(x - t, 0)`, where t makes it sum to s: weights below t become exactly 0, and a group
    of equal weights becomes s / n in each of its n weights. Convex, unique. A group without a negative weight whose sum
    is s to within the rounding of its type is on the simplex and stays. t is found without a sort, O(n) a pass; see
    `constraints.threshold`.

    Attributes:
      total: s above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, none of them negative.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total = self.value("total")
        sums = tf.reduce_sum(x, axis=0)
        on_simplex = (tf.abs(sums - total) <= threshold.rounding(x.shape[0], total, dtype)) & (
            tf.reduce_min(x, axis=0) >= 0.0
        )
        stays = on_simplex | ~tf.math.is_finite(sums)
        return tf.where(stays, x, threshold.onto_simplex(x, total, ~stays))

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.without_negative_subnormals(super().nearest(w))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)
