"""The l2 sphere."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ._radial import Rescaling


@dataclasses.dataclass(frozen=True, eq=False)
class UnitNorm(Rescaling):
    """Groups of l2 norm 1: the unit sphere { x : ||x|| = 1 }.

    The nearest point of x is `x / ||x||`. Not convex; unique but for the zero vector, from which every point of the
    sphere is equally far: there the point with all entries equal to n^(-1/2) is taken, n weights in a group. A group
    whose norm is 1 to within the rounding of its type is on the sphere and stays. O(n).

    References:
      Salimans and Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
      Networks", 2016.
    """

    convex: ClassVar[bool] = False

    def factor(self, norm: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        on_sphere = tf.abs(norm - 1.0) <= numerics.epsilon(dtype) + numerics.slack(size)
        return tf.where(on_sphere | ~tf.math.is_finite(norm), tf.ones_like(norm), 1.0 / norm)

    def origin(self, size: int) -> tf.Tensor:
        del size
        return tf.ones([], tf.float64)

    def sphere(self, size: int, dtype: tf.DType) -> tf.Tensor:
        del size, dtype
        return tf.constant(True)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)
