"""The l1 sphere."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics import simplex_threshold


@dataclasses.dataclass(frozen=True, eq=False)
class L1Sphere(Constraint):
    """Groups whose magnitudes sum to `total`: the sphere { x : sum |x_i| = s }.

    The nearest point of x is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to s; inside the sphere t is
    negative, and all weights grow by -t. It is the signed copy of the simplex: no point of the sphere is nearer than
    one with x's own signs. Not convex; unique but for zeros of x inside the sphere, whose sign is free: there it is
    taken as positive, so that a group of zeros becomes s / n in each of its n weights. A group whose sum is s to within
    the rounding of its type is on the sphere and stays. t is found without a sort, O(n) a pass; see
    `constraints.numerics.simplex_threshold`.

    Attributes:
      total: s above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
    """

    convex: ClassVar[bool] = False

    total: Any = hyperparameter(1.0, "Sum of the magnitudes of a unit's incoming weights.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total = self.value("total")
        magnitude = tf.abs(x)
        sums = tf.reduce_sum(magnitude, axis=0)
        on_sphere = tf.abs(sums - total) <= simplex_threshold.rounding(x.shape[0], total, dtype)
        stays = on_sphere | ~tf.math.is_finite(sums)
        moved = simplex_threshold.onto_simplex(magnitude, total, ~stays)
        return tf.where(stays, x, tf.where((x < 0.0) & (moved > 0.0), -moved, moved))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return simplex_threshold.pulled_back(upstream, tf.sign(self.project(x, dtype)))

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)
