"""The l2,1 ball: a budget of units' l2 norms, the group lasso's."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics.simplex_threshold import onto_simplex
from ._matrix import MatrixSet, unit_norms


@dataclasses.dataclass(frozen=True, eq=False)
class L21Ball(MatrixSet):
    """Kernels whose units' l2 norms sum to at most `max_value`: argmin_p ||p - x|| over { p : sum_j ||p_j||_2 <= c }.

    The nearest point scales each unit, `x_j * max(1 - t / ||x_j||, 0)`, where t makes the norms sum to c. Units whose
    norm is t or less become exactly 0. Convex, unique; inside the ball x stays. O(size of the kernel) without a sort,
    see `constraints.numerics.simplex_threshold`.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only zeros are left.

    References:
      van den Berg, Schmidt, Friedlander and Murphy, "Group Sparsity via Linear-Time Projection", 2008.
    """

    max_value: Any = hyperparameter(10.0, "Largest sum of a kernel's units' l2 norms.", above=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor, stays = self.factor(unit_norms(x, dtype), x.shape[1])
        return tf.where(stays, x, tf.where(factor > 0.0, x * factor, tf.zeros_like(x)))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """dp_j = f_j (dx_j - u_j u_j^T dx_j) + u_j (u_j^T dx_j - dt), u_j = x_j / ||x_j||, dt mean of u_j^T dx_j."""
        norms = unit_norms(x, dtype)
        factor, stays = self.factor(norms, x.shape[1])
        unit = tf.math.divide_no_nan(x, norms[:, tf.newaxis])
        along = tf.reduce_sum(unit * upstream, axis=1, keepdims=True)
        count = tf.reduce_sum(tf.sign(factor), axis=2, keepdims=True)
        mean = tf.reduce_sum(tf.sign(factor) * along, axis=2, keepdims=True) / tf.maximum(count, 1.0)
        moved = factor * (upstream - unit * along) + unit * (tf.sign(factor) * (along - mean))
        return tf.where(stays, upstream, moved)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(unit_norms(x, dtype), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return self.column_norms(tf.cast(w, tf.float64), w.dtype) >= self.value("max_value") * (1.0 - 1e-6)

    def factor(self, norms: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """The factor of each unit, float64 [groups, 1, units], and bool [groups, 1, 1], which groups stay."""
        bound, total = self.value("max_value"), tf.reduce_sum(norms, axis=1)
        stays = (total <= bound * (1.0 + numerics.slack(size + norms.shape[1]))) | ~tf.math.is_finite(total)
        shrunk = tf.transpose(onto_simplex(tf.transpose(norms), bound, ~stays))
        factor = tf.where(stays[:, tf.newaxis], tf.ones_like(norms), tf.math.divide_no_nan(shrunk, norms))
        return factor[:, tf.newaxis], self.broadcast_over_groups(stays)
