"""The threshold that makes a group sum to a total: what the simplex, the l1 ball and the l1 sphere have in common."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics


def onto_simplex(x: tf.Tensor, total: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """The nearest point of the simplex { p : p >= 0, sum p_i = total } to each column: `max(x - t, 0)`.

    t is found by Newton's method on the entries' excess over it, which ends on the true support after a few passes and
    needs no sort: O(n) a pass. Entries are taken relative to their column's largest first, so that a total far below
    them cancels nothing.

    Args:
      x: float64 [size, groups].
      total: float64 scalar, at least 0.
      wanted: bool [groups], the columns that matter; the others' results mean nothing.

    Returns:
      float64 [size, groups]; entries off the support are exactly 0.
    """
    z = x - tf.reduce_max(x, axis=0)
    return tf.maximum(z - below_largest(z, total, wanted), 0.0)


def simplex_vjp(upstream: tf.Tensor, signs: tf.Tensor) -> tf.Tensor:
    """The derivative of projecting onto the face with a given support and signs: less the mean along the signs.

    Args:
      upstream: float64 [size, groups].
      signs: float64 [size, groups], 0 off the support of the projection.

    Returns:
      float64 [size, groups]; 0 off the support.
    """
    along = tf.reduce_sum(signs * upstream, axis=0) / tf.maximum(tf.reduce_sum(tf.abs(signs), axis=0), 1.0)
    return tf.abs(signs) * upstream - signs * along


def sums_to(sums: tf.Tensor, size: int, total: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Whether sums of `size` magnitudes are `total` to within the rounding of each to the type: bool [groups].

    Without this room a projected group could be found outside again.
    """
    room = (numerics.epsilon(dtype) + numerics.slack(size)) * total + numerics.quantum(dtype) * size
    return tf.abs(sums - total) <= room


def near_simplex(x: tf.Tensor, total: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Whether each column is on the simplex to within the type's rounding: float64 [size, groups] -> bool [groups]."""
    return sums_to(tf.reduce_sum(x, axis=0), x.shape[0], total, dtype) & ~(tf.reduce_min(x, axis=0) < 0.0)


def below_largest(z: tf.Tensor, bound: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
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
    # Multiplied, as TensorFlow makes of a division by a constant in graphs, where it would round otherwise.
    start = tf.maximum(-bound, (tf.reduce_sum(z, axis=0) - bound) * (1.0 / max(z.shape[0], 1)))
    t, count, reached, _ = tf.while_loop(
        lambda *state: tf.reduce_any(state[-1]), improve, (start, *excess(start), wanted)
    )
    # A first step from afar leaves its own rounding.
    return t + (reached - bound) / tf.maximum(count, 1.0)
