"""The l1,inf ball: a budget of units' largest magnitudes."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics.l1inf_bounds import bounds_of_units, heights
from ._matrix import MatrixSet


@dataclasses.dataclass(frozen=True, eq=False)
class L1InfBall(MatrixSet):
    """Kernels of small largest magnitudes: argmin_p ||p - x|| over { p : sum_j max_i |p_ij| <= max_value }.

    The nearest point clips each unit j at a bound of its own, `clip(x_ij, -b_j, b_j)`. All units that stay non-zero
    lose the same, sum_i max(|x_ij| - b_j, 0) = r; units of l1 norm at most r become exactly 0. Convex, unique; inside
    the ball x stays. O(size of the kernel) a pass, some ten passes, see `constraints.numerics.l1inf_bounds`.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only zeros are left.

    References:
      Quattoni, Carreras, Collins and Darrell, "An efficient projection for l1,inf regularization", 2009.
      Bejar, Dokmanic and Vidal, "The fastest l_{1,inf} prox in the West", 2021.
    """

    max_value: Any = hyperparameter(10.0, "Largest sum of a kernel's units' largest magnitudes.", above=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound, magnitude = self.value("max_value"), tf.abs(x)
        total = tf.reduce_sum(heights(magnitude), axis=1)
        lost = tf.reduce_sum(magnitude, axis=(1, 2))
        stays = (total <= bound * (1.0 + numerics.slack(x.shape[2]))) | ~tf.math.is_finite(lost)
        bounds = bounds_of_units(magnitude, bound, ~stays)[:, tf.newaxis]
        clipped = tf.where(magnitude > bounds, tf.sign(x) * bounds, x)
        return tf.where(self.broadcast_over_groups(stays), x, tf.where(bounds > 0.0, clipped, tf.zeros_like(x)))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """db_j = m_j - dr / k_j, the m_j means over the k_j weights at a bound; dr keeps the sum of the bounds."""
        p = self._project(x, dtype)
        stays = tf.reduce_all(tf.equal(p, x), axis=(1, 2), keepdims=True)
        sign = tf.where(tf.equal(p, x), tf.zeros_like(x), tf.sign(p))
        count = tf.reduce_sum(tf.abs(sign), axis=1, keepdims=True)
        share = tf.math.divide_no_nan(tf.ones_like(count), count)
        mean = share * tf.reduce_sum(sign * upstream, axis=1, keepdims=True)
        total, shares = (tf.reduce_sum(terms, axis=2, keepdims=True) for terms in (mean, share))
        level = tf.math.divide_no_nan(total, shares)
        clipped = tf.where(tf.equal(sign, 0.0), upstream, sign * (mean - share * level))
        return tf.where(stays, upstream, tf.where(count > 0.0, clipped, tf.zeros_like(x)))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(heights(tf.abs(x)), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return self.column_norms(tf.cast(w, tf.float64), w.dtype) >= self.value("max_value") * (1.0 - 1e-6)
