"""The l2 sphere."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint


@dataclasses.dataclass(frozen=True, eq=False)
class UnitNorm(Constraint):
    """Groups of l2 norm 1: the unit sphere { x : ||x|| = 1 }.

    The nearest point of x is `x / ||x||`. Not convex; unique but for the zero vector, from which every point of the
    sphere is equally far: there the point with all entries equal to n^(-1/2) is taken, n weights in a group. A group
    whose norm is 1 to within the rounding of its type is on the sphere and stays. O(n).

    References:
      Salimans and Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
      Networks", 2016.
    """

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        norm = numerics.l2(x, dtype)
        on_sphere = tf.abs(norm - 1.0) <= numerics.epsilon(dtype) + numerics.slack(x.shape[0])
        scaled = x * tf.where(on_sphere | ~tf.math.is_finite(norm), tf.ones_like(norm), 1.0 / norm)
        return tf.where(norm != 0.0, scaled, max(x.shape[0], 1) ** -0.5)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)
