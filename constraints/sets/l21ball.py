"""The l2,1 ball: a budget of units' l2 norms, the group lasso's."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics.reductions import compiled, squares
from ..numerics.simplex_threshold import onto_simplex
from ._matrix import Joint


@dataclasses.dataclass(frozen=True, eq=False)
class L21Ball(Joint):
    """Kernels whose units' l2 norms sum to at most `max_value`: { x : sum_j ||x_j||_2 <= c }, x_j the columns.

    The nearest point of x is `x_j * max(1 - t / ||x_j||, 0)`, where t makes the norms sum to c: the norms are projected
    onto the l1 ball, and each unit is scaled to its own. Units whose norm is t or less become exactly 0, so the kernel
    chooses which units to do without. Convex, unique; inside the ball x stays. t is found without a sort, see
    `constraints.numerics.simplex_threshold`: O(size of the kernel).

    All of this is done in float64; for more than a few float32 weights by compiled passes, see `numerics.reductions`.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only zeros are left.

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", 2006.
      van den Berg, Schmidt, Friedlander and Murphy, "Group Sparsity via Linear-Time Projection", 2008.
    """

    max_value: Any = hyperparameter(10.0, "Largest sum of a kernel's units' l2 norms.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor, stays = self._factor(unit_norms(x, dtype), x.shape[1])
        scaled = tf.where(factor > 0.0, x * factor, tf.zeros_like(x))
        return tf.where(stays, x, scaled)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Of the units that stay non-zero, norms are led to the plane where they sum to c, and directions are scaled.

        With u_j = x_j / ||x_j|| and f_j = 1 - t / ||x_j||: dp_j = f_j (dx_j - u_j u_j^T dx_j) + u_j (u_j^T dx_j - dt),
        where dt is the mean of u_j^T dx_j.
        """
        norms = unit_norms(x, dtype)
        factor, stays = self._factor(norms, x.shape[1])
        unit = tf.math.divide_no_nan(x, norms[:, tf.newaxis])
        along = tf.reduce_sum(unit * upstream, axis=1, keepdims=True)
        count = tf.reduce_sum(tf.sign(factor), axis=2, keepdims=True)
        mean = tf.reduce_sum(tf.sign(factor) * along, axis=2, keepdims=True) / tf.maximum(count, 1.0)
        moved = factor * (upstream - unit * along) + unit * (tf.sign(factor) * (along - mean))
        return tf.where(stays, upstream, moved)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w):
            return super().nearest(w)
        groups, size, units = w.shape
        norms = tf.reshape(tf.sqrt(squares(_columns(w))), [groups, units])
        factor, stays = self._factor(norms, size)
        moved = numerics.rarely(lambda: _product(w, factor, stays))
        return tf.cond(tf.reduce_all(stays), lambda: w, moved)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(unit_norms(x, dtype), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return self.column_norms(tf.cast(w, tf.float64), w.dtype) >= self.value("max_value") * (1.0 - 1e-6)

    def _factor(self, norms: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """What each unit is multiplied by, and which groups stay as they are.

        Args:
          norms: float64 [groups, units].
          size: weights of a unit.

        Returns:
          float64 [groups, 1, units], 0 for units that become 0 and 1 in groups that stay; bool [groups, 1, 1].
        """
        bound = self.value("max_value")
        total = tf.reduce_sum(norms, axis=1)
        stays = (total <= bound * (1.0 + numerics.slack(size + norms.shape[1]))) | ~tf.math.is_finite(total)
        shrunk = tf.transpose(onto_simplex(tf.transpose(norms), bound, ~stays))
        factor = tf.where(stays[:, tf.newaxis], tf.ones_like(norms), tf.math.divide_no_nan(shrunk, norms))
        return factor[:, tf.newaxis], self.apart(stays)


def unit_norms(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Euclidean norm of each unit: float64 [groups, size, units] -> float64 [groups, units]."""
    groups, _, units = x.shape
    return tf.reshape(numerics.l2(_columns(x), dtype), [groups, units])


def _columns(x: tf.Tensor) -> tf.Tensor:
    """[groups, size, units] -> [size, groups * units]."""
    groups, size, units = x.shape
    # With one group, as usual, a reshape that copies nothing.
    return tf.reshape(x if groups == 1 else tf.transpose(x, [1, 0, 2]), [size, groups * units])


@compiled
def _product(w: tf.Tensor, factor: tf.Tensor, stays: tf.Tensor) -> tf.Tensor:
    """Each unit times its factor; as `_factor` returns them, w being float32 [groups, size, units]."""
    p = numerics.toward_zero(tf.cast(w, tf.float64) * factor, w.dtype)
    return tf.where(stays, w, tf.where(factor > 0.0, p, tf.zeros_like(w)))
