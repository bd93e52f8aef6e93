"""The l1 sphere."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics.simplex_threshold import onto_simplex, simplex_vjp, sums_to


@dataclasses.dataclass(frozen=True, eq=False)
class L1Sphere(Constraint):
    """Groups whose magnitudes sum to `total`: argmin_p ||p - x|| over the sphere { p : sum |p_i| = s }.

    The nearest point is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to s; inside the sphere t is
    negative and all weights grow. No point is nearer than one with x's own signs, so this is the simplex of |x|. Not
    convex; unique except for zeros of x inside the sphere, which become positive: a group of zeros becomes s / n in
    each weight. A group whose sum is s to within the rounding of its type stays. O(n) a pass, see
    `constraints.numerics.simplex_threshold`.

    Attributes:
      total: s above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
    """

    convex: ClassVar[bool] = False
    thin: ClassVar[bool] = True

    total: Any = hyperparameter(1.0, "Sum of the magnitudes of a unit's incoming weights.", above=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total = self.value("total")
        magnitude = tf.abs(x)
        sums = tf.reduce_sum(magnitude, axis=0)
        stays = sums_to(sums, x.shape[0], total, dtype) | ~tf.math.is_finite(sums)
        moved = onto_simplex(magnitude, total, ~stays)
        return tf.where(stays, x, tf.where((x < 0.0) & (moved > 0.0), -moved, moved))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return simplex_vjp(upstream, tf.sign(self._project(x, dtype)))

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)
