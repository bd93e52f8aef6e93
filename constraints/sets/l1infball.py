"""The l1,inf ball: a budget of units' largest magnitudes."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._matrix import Joint

# The bounds of units are exact after some ten passes; a weight equal to its unit's bound may come and go by rounding.
_MAX_PASSES = 64
_TINY = 2.0**-1000


@dataclasses.dataclass(frozen=True, eq=False)
class L1InfBall(Joint):
    """Kernels whose units' largest magnitudes sum to at most `max_value`: { x : sum_j max_i |x_ij| <= c }.

    The nearest point of x clips each unit j at a bound b_j of its own, `clip(x_ij, -b_j, b_j)`. All units that stay
    non-zero lose the same, sum_i max(|x_ij| - b_j, 0) = r; units of an l1 norm of at most r become exactly 0; and r
    makes the bounds sum to c. Convex, unique; inside the ball x stays. r is found by Newton's method, without a sort:
    O(size of the kernel) a pass, some ten passes. Units are compared by their l1 norms in float64, so that a bound may
    be off by the rounding of the largest.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only zeros are left.

    References:
      Quattoni, Carreras, Collins and Darrell, "An efficient projection for l1,inf regularization", 2009.
      Chau, Wohlberg and Rodriguez, "Efficient Projection onto the l_{inf,1} Mixed-Norm Ball Using a Newton Root Search
      Method", 2019.
      Bejar, Dokmanic and Vidal, "The fastest l_{1,inf} prox in the West", 2021.
    """

    max_value: Any = hyperparameter(10.0, "Largest sum of a kernel's units' largest magnitudes.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound = self.value("max_value")
        magnitude = tf.abs(x)
        total = tf.reduce_sum(_largest(magnitude), axis=1)
        lost = tf.reduce_sum(magnitude, axis=(1, 2))
        stays = (total <= bound * (1.0 + numerics.slack(x.shape[2]))) | ~tf.math.is_finite(lost)
        bounds = _bounds(magnitude, bound, ~stays)[:, tf.newaxis]
        clipped = tf.where(magnitude > bounds, tf.sign(x) * bounds, x)
        return tf.where(self.apart(stays), x, tf.where(bounds > 0.0, clipped, tf.zeros_like(x)))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Weights at their unit's bound move together, s_ij db_j, and the bounds keep their sum; zero units stay.

        With m_j the mean of s_ij dx_ij over the k_j weights at the bound, of signs s_ij: db_j = m_j - dr / k_j, where
        dr = sum m_j / sum 1/k_j over the units that are not zero.
        """
        p = self.project(x, dtype)
        stays = tf.reduce_all(tf.equal(p, x), axis=(1, 2), keepdims=True)
        sign = tf.where(tf.equal(p, x), tf.zeros_like(x), tf.sign(p))
        count = tf.reduce_sum(tf.abs(sign), axis=1, keepdims=True)
        share = tf.math.divide_no_nan(tf.ones_like(count), count)
        mean = share * tf.reduce_sum(sign * upstream, axis=1, keepdims=True)
        level = tf.math.divide_no_nan(
            tf.reduce_sum(mean, axis=2, keepdims=True), tf.reduce_sum(share, axis=2, keepdims=True)
        )
        clipped = tf.where(tf.equal(sign, 0.0), upstream, sign * (mean - share * level))
        return tf.where(stays, upstream, tf.where(count > 0.0, clipped, tf.zeros_like(x)))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        # Largest magnitudes are exact in any type; while they are inside, there is nothing to do.
        total = tf.reduce_sum(tf.cast(_largest(tf.abs(w)), tf.float64), axis=1)
        inside = tf.reduce_all(total <= self.value("max_value"))
        return tf.cond(inside, lambda: w, lambda: super(L1InfBall, self).nearest(w))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(_largest(tf.abs(x)), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return self.column_norms(tf.cast(w, tf.float64), w.dtype) >= self.value("max_value") * (1.0 - 1e-6)


def _largest(magnitude: tf.Tensor) -> tf.Tensor:
    """The largest magnitude of each unit, 0 of none: [groups, size, units] -> [groups, units]."""
    if magnitude.shape[1] == 0:
        return tf.zeros([magnitude.shape[0], magnitude.shape[2]], magnitude.dtype)
    return tf.reduce_max(magnitude, axis=1)


def _bounds(magnitude: tf.Tensor, bound: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Finds the bounds at which the units of each group are clipped.

    Let l_j be the l1 norm of unit j, L the largest of them, and d = L - r. What is left of a unit is then
    sum_i min(|x_ij|, b_j) = max(l_j - L + d, 0), in which nothing but l_j - L is larger than c, however large the
    weights. Take a set S_j of k_j weights as those at the bound, and let the others sum to s_j: the unit's bound would
    be b_j = (l_j - L - s_j + d) / k_j, linear in d, or 0. Whatever the sets, that is at most the true bound for this d,
    which is the largest of all; so the d for which they sum to c is at least the true one. Each pass finds it, and
    takes as S_j what reaches the new b_j, which can only raise them: d falls from L to the true one, and is exact where
    the sets, and the units that are not 0, are as they were.

    Args:
      magnitude: float64 [groups, size, units], at least 0.
      bound: float64 scalar, c of at least 0.
      wanted: bool [groups], those that matter: finite, and outside the ball.

    Returns:
      float64 [groups, units], whose sums over units are c.
    """
    size, units = magnitude.shape[1:]
    l1 = tf.reduce_sum(magnitude, axis=1)
    top = tf.reduce_max(l1, axis=1, keepdims=True) if units else tf.zeros([magnitude.shape[0], 1], l1.dtype)
    highest = _largest(magnitude)
    # No bound is larger than d, which cannot be less than their mean then.
    lowest = bound / max(units, 1)

    def lines(b: tf.Tensor, d: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """1 / k_j and the bound for d = 0 of each unit; and k_j, but 0 where the bound for this d is 0."""
        # Rounding can leave a bound above its unit's largest weight, which reaches it all the same.
        below = tf.minimum(b, highest)[:, tf.newaxis] - magnitude
        count = size - tf.reduce_sum(tf.sign(tf.nn.relu(below)), axis=1)
        others = tf.reduce_sum(tf.raw_ops.ReluGrad(gradients=magnitude, features=below), axis=1)
        slope = 1.0 / tf.maximum(count, 1.0)
        start = slope * (l1 - top - others)
        return slope, start, count * tf.sign(tf.nn.relu(start + slope * d))

    def improve(
        b: tf.Tensor, slope: tf.Tensor, start: tf.Tensor, count: tf.Tensor, moving: tf.Tensor, passes: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        some = tf.sign(count)
        rest = bound - tf.reduce_sum(some * start, axis=1, keepdims=True)
        d = rest / tf.maximum(tf.reduce_sum(some * slope, axis=1, keepdims=True), _TINY)
        d = tf.clip_by_value(d, lowest, top)
        better = tf.where(moving, some * tf.nn.relu(start + slope * d), b)
        slope, start, now = lines(better, d)
        return (
            better,
            slope,
            start,
            now,
            moving & tf.reduce_any(tf.not_equal(now, count), axis=1, keepdims=True),
            passes + 1,
        )

    b = tf.zeros_like(l1)
    state = b, *lines(b, top), wanted[:, tf.newaxis], 0
    b = tf.while_loop(lambda *state: tf.reduce_any(state[-2]) & (state[-1] < _MAX_PASSES), improve, state)[0]
    # The last step leaves its rounding.
    return b * tf.math.divide_no_nan(bound, tf.reduce_sum(b, axis=1, keepdims=True))
