"""The bounds at which the l1,inf ball clips the units of a kernel."""

from __future__ import annotations

import tensorflow as tf

# The bounds are exact after some ten passes. A weight equal to its unit's bound may come and go by rounding.
_MAX_PASSES = 64
_TINY = 2.0**-1000


def heights(magnitude: tf.Tensor) -> tf.Tensor:
    """The largest magnitude of each unit, 0 of none: [groups, size, units] -> [groups, units]."""
    if magnitude.shape[1] == 0:
        return tf.zeros([magnitude.shape[0], magnitude.shape[2]], magnitude.dtype)
    return tf.reduce_max(magnitude, axis=1)


def bounds_of_units(magnitude: tf.Tensor, bound: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Finds the bounds at which the units of each group are clipped.

    Newton's method on d, the largest l1 norm of a unit less what each unit loses. With k_j weights at the bound of unit
    j, its bound is linear in d; each pass solves for the d at which the bounds sum to c and counts those weights again.
    d only falls, and is exact once the counts stay. Proof: docs/math/thresholds.md.

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
    highest = heights(magnitude)
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
