"""The half-space of sums up to a bound."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._affine import SumConstraint


@dataclasses.dataclass(frozen=True, eq=False)
class Halfspace(SumConstraint):
    """Groups that sum to at most `total`: argmin_p ||p - x|| over the half-space { p : sum p_i <= b }.

    The nearest point is `x - max(sum x_i - b, 0) / n`, n weights in a group. Convex, unique; inside x stays.
    Weights that move are rounded down, so that the sum obeys b. O(n).

    Attributes:
      total: b, any finite number.

    References:
      Boyd and Vandenberghe, "Convex Optimization", 2004, section 8.1.
    """

    total: Any = hyperparameter(0.0, "Largest sum of a unit's incoming weights, of any sign.")

    def feasible(self, excess: tf.Tensor, magnitude: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        return excess <= numerics.slack(size) * magnitude

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(p > 0.0, numerics.toward_zero(p, dtype), numerics.away_from_zero(p, dtype))

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        x = tf.cast(w, tf.float64)
        return tf.reduce_sum(x, axis=0) - self.value("total") >= -1e-6 * numerics.l1(x)
