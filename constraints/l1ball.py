"""The l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class L1Ball(Constraint):
    """Groups whose magnitudes sum to at most `max_value`: the ball { x : sum |x_i| <= c }.

    The nearest point of x is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to c; weights below t become
    exactly 0. Convex, unique; inside the ball x stays. t is found by Newton's method on the magnitudes' excess over it,
    which ends on the true support after a few passes and needs no sort: O(n) a pass. Magnitudes are taken relative to
    their group's largest first, so that c far below the weights cancels nothing.

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
        z = magnitude - tf.reduce_max(magnitude, axis=0)
        shrunk = tf.maximum(z - _threshold(z, bound, ~inside), 0.0)
        outside = tf.where(shrunk > 0.0, tf.sign(x) * shrunk, 0.0)
        return tf.where(inside, x, outside)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.l1(tf.cast(w, tf.float64)) >= self.value("max_value") * (1.0 - 1e-6)


def _threshold(z: tf.Tensor, bound: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Finds t in [-bound, 0] with sum(max(z - t, 0)) = bound, for each column with largest entry 0.

    Newton's method from below: the sum is convex and decreasing in t, so t only grows and the support only shrinks;
    where it no longer does, t is exact.

    Args:
      z: float64 [size, groups], each column's largest entry 0.
      bound: float64 scalar, at least 0.
      wanted: bool [groups], the columns that matter.

    Returns:
      float64 [groups].
    """

    def excess(t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        over = tf.nn.relu(z - t)
        return tf.reduce_sum(tf.sign(over), axis=0), tf.reduce_sum(over, axis=0)

    def improve(t: tf.Tensor, count: tf.Tensor, total: tf.Tensor, moving: tf.Tensor) -> tuple[tf.Tensor, ...]:
        better = tf.where(moving, t + tf.maximum(total - bound, 0.0) / tf.maximum(count, 1.0), t)
        fewer, rest = excess(better)
        return better, fewer, rest, moving & (fewer < count)

    # Its largest entry alone never exceeds the bound below -bound; all entries together never below the mean's excess.
    start = tf.maximum(-bound, (tf.reduce_sum(z, axis=0) - bound) / max(z.shape[0], 1))
    t, *_ = tf.while_loop(lambda *state: tf.reduce_any(state[-1]), improve, (start, *excess(start), wanted))
    return t
