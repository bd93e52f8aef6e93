"""The l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from constraints import numerics, threshold
from constraints.base import Constraint, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class L1Ball(Constraint):
    """Groups whose magnitudes sum to at most `max_value`: the ball { x : sum |x_i| <= c }.

    The nearest point of x is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to c; weights below t become
    exactly 0. Convex, unique; inside the ball x stays. t is found without a sort, O(n) a pass; see
    `constraints.threshold`.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    max_value: Any = hyperparameter(1.0, "Largest sum of magnitudes of a unit's incoming weights.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound = self.value("max_value")
        magnitude = tf.abs(x)
        total = tf.reduce_sum(magnitude, axis=0)
        inside = (total <= bound * (1.0 + numerics.slack(x.shape[0]))) | ~tf.math.is_finite(total)
        shrunk = threshold.onto_simplex(magnitude, bound, ~inside)
        outside = tf.where(shrunk > 0.0, tf.sign(x) * shrunk, 0.0)
        return tf.where(inside, x, outside)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.l1(tf.cast(w, tf.float64)) >= self.value("max_value") * (1.0 - 1e-6)
