"""The simplex."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from constraints import numerics, threshold
from constraints.base import Constraint
from constraints.fields import hyperparameter


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

    exchangeable: ClassVar[bool] = True

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, none of them negative.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        stays = self.on_simplex(x, dtype) | ~tf.math.is_finite(tf.reduce_sum(x, axis=0))
        return tf.where(stays, x, threshold.onto_simplex(x, self.value("total"), ~stays))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        # A group that rounding leaves where it is lies on the simplex all the same: its derivative is that of the face.
        return threshold.pulled_back(upstream, tf.sign(self.project(x, dtype)))

    def on_simplex(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Whether each column is on it, to within the type's rounding: float64 [size, groups] -> bool [groups]."""
        total = self.value("total")
        near = tf.abs(tf.reduce_sum(x, axis=0) - total) <= threshold.rounding(x.shape[0], total, dtype)
        return near & (tf.reduce_min(x, axis=0) >= 0.0)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        p = super().nearest(w)
        return numerics.without_subnormals(p, numerics.negative(p) & numerics.finite_groups(p))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)
