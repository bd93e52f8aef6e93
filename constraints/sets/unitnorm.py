"""The l2 sphere."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ._radial import RadialSet


@dataclasses.dataclass(frozen=True, eq=False)
class UnitNorm(RadialSet):
    """Groups of l2 norm 1: argmin_p ||p - x|| over the unit sphere { p : ||p|| = 1 }.

    The nearest point is `x / ||x||`. Not convex; unique except for the zero vector, for which the point with all n
    entries equal to n^(-1/2) is taken. A group whose norm is 1 to within the rounding of its type stays. O(n).

    References:
      Salimans and Kingma, "Weight Normalization: A Simple Reparameterization to Accelerate Training of Deep Neural
      Networks", 2016.
    """

    convex: ClassVar[bool] = False
    thin: ClassVar[bool] = True

    def factor(self, norm: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        on_sphere = tf.abs(norm - 1.0) <= numerics.epsilon(dtype) + numerics.slack(size)
        return tf.where(on_sphere | ~tf.math.is_finite(norm), tf.ones_like(norm), 1.0 / norm)

    def origin(self, size: int) -> tf.Tensor:
        return tf.ones([], tf.float64)

    def sphere(self, size: int, dtype: tf.DType) -> tf.Tensor:
        return tf.constant(True)
