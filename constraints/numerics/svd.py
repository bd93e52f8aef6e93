"""Singular value decompositions in float64; under XLA by a method of its own, to within float64's rounding."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics

# Sweeps of Jacobi's method; it converges quadratically, after six to ten for any size that is met.
_MAX_SWEEPS = 30
# Powers of two that a matrix may be divided by, so that the reciprocal is a normal number too.
_UNITS = 2.0**-1000, 2.0**1000


def unit_of(x: tf.Tensor) -> tf.Tensor:
    """What each matrix is divided by so that no power of its entries overflows or vanishes, which rounds nothing.

    A power of two near the largest magnitude, with the sign of its first entry, so that W and -W give the same matrix.

    Args:
      x: float64 [groups, size, units], finite, at least one entry a matrix.

    Returns:
      float64 [groups, 1, 1]; 1 for a matrix of zeros.
    """
    flat = tf.reshape(x, [x.shape[0], -1])
    largest = tf.gather(flat, tf.argmax(tf.abs(flat), axis=1), batch_dims=1)
    mantissa_off = tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int64), tf.constant(-(1 << 52), tf.int64))
    magnitude = tf.clip_by_value(tf.abs(tf.bitcast(mantissa_off, x.dtype)), *_UNITS)
    return tf.where(tf.abs(largest) > 0.0, tf.sign(largest) * magnitude, 1.0)[:, tf.newaxis, tf.newaxis]


def svd(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """x = u diag(s) v^T for each matrix.

    Outside XLA this is TensorFlow's kernel. XLA's own misses float64 by seven digits, so there it is one-sided Jacobi,
    half of the columns at a time, O(size units^2) a sweep.

    Args:
      x: float64 [groups, size, units], finite, size >= units >= 1, its largest magnitude near 1.

    Returns:
      float64 s [groups, units], descending; u [groups, size, units], whose columns are 0 where s is (under XLA); v
      [groups, units, units], orthogonal.
    """
    return _jacobi(x) if numerics.in_xla() else tf.linalg.svd(x)


def singular_values(x: tf.Tensor) -> tf.Tensor:
    """The singular values alone, which cost less: as `svd`, [groups, units]."""
    return _jacobi(x)[0] if numerics.in_xla() else tf.linalg.svd(x, compute_uv=False)


def frobenius(x: tf.Tensor) -> tf.Tensor:
    """Root of the sum of squares: float64 [groups, size, units] -> [groups]."""
    return tf.sqrt(tf.reduce_sum(tf.square(x), axis=[1, 2]))


def spectral_bound(x: tf.Tensor) -> tf.Tensor:
    """An upper bound on the largest singular value by two products: the Schatten norm (sum s_i^8)^(1/8).

    It lies within a factor units^(1/8) of it; the Frobenius norm, within sqrt(units).

    Args:
      x: float64 [groups, size, units], finite, size >= units.

    Returns:
      float64 [groups].
    """
    largest = tf.reduce_max(tf.abs(x), axis=[1, 2], keepdims=True)
    y = tf.math.divide_no_nan(x, largest)
    gram = tf.matmul(y, y, transpose_a=True)
    # Its own rounding must not make the bound too small.
    return (1.0 + 1e-12) * largest[:, 0, 0] * tf.sqrt(tf.sqrt(frobenius(tf.matmul(gram, gram))))


def first_of_large(share: tf.Tensor) -> tf.Tensor:
    """Marks the first entry that is not far below the largest, so that rounding does not choose.

    Args:
      share: float64 [groups, n], at least 0.

    Returns:
      float64 [groups, n], one-hot.
    """
    # Not a ratio that entries which should be equal could have.
    enough = share >= 0.3 * tf.reduce_max(share, axis=1, keepdims=True)
    return tf.one_hot(tf.argmax(tf.cast(enough, tf.int32), axis=1), share.shape[1], dtype=share.dtype)


def _jacobi(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    groups, size, units = x.shape
    even = units + units % 2
    half = even // 2
    # Rows are the columns of x, and behind them those of v; a column of zeros makes their number even.
    start = tf.concat([tf.transpose(x, [0, 2, 1]), tf.eye(units, batch_shape=[groups], dtype=x.dtype)], axis=2)
    start = tf.pad(start, [[0, 0], [0, even - units], [0, 0]])
    # Cosines of angles between columns that rounding leaves.
    tolerance = (8.0 + size**0.5) * 2.0**-52

    def turn(round_: tf.Tensor, worst: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        a, b = rows[:, :half], tf.reverse(rows[:, half:], [1])
        left, right = a[:, :, :size], b[:, :, :size]
        aa, bb, ab = (tf.reduce_sum(p * q, axis=2) for p, q in ((left, left), (right, right), (left, right)))
        cosine = tf.math.divide_no_nan(tf.abs(ab), tf.sqrt(aa) * tf.sqrt(bb))
        turning = cosine > tolerance
        cotangent = (bb - aa) / tf.where(turning, 2.0 * ab, 1.0)
        sign = tf.where(cotangent < 0.0, -tf.ones_like(ab), tf.ones_like(ab))
        tangent = tf.where(turning, sign / (tf.abs(cotangent) + tf.sqrt(1.0 + tf.square(cotangent))), tf.zeros_like(ab))
        c = 1.0 / tf.sqrt(1.0 + tf.square(tangent))[:, :, tf.newaxis]
        s = c * tangent[:, :, tf.newaxis]
        rows = tf.concat([c * a - s * b, tf.reverse(s * a + c * b, [1])], axis=1)
        # The first stays, the others move on by one place: after even - 1 rounds all have met and are back.
        rows = tf.concat([rows[:, :1], rows[:, -1:], rows[:, 1:-1]], axis=1)
        return round_ + 1, tf.maximum(worst, tf.reduce_max(cosine)), rows

    def sweep(count: tf.Tensor, worst: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        _, worst, rows = tf.while_loop(
            lambda round_, *_: round_ < even - 1, turn, (0, tf.zeros([], x.dtype), rows), maximum_iterations=even - 1
        )
        return count + 1, worst, rows

    _, _, rows = tf.while_loop(
        lambda count, worst, _: (count < _MAX_SWEEPS) & (worst > tolerance), sweep, (0, tf.ones([], x.dtype), start)
    )
    rows = rows[:, :units]
    s = tf.sqrt(tf.reduce_sum(tf.square(rows[:, :, :size]), axis=2))
    order = tf.argsort(s, axis=1, direction="DESCENDING", stable=True)
    s, rows = tf.gather(s, order, batch_dims=1), tf.gather(rows, order, batch_dims=1)
    u = tf.math.divide_no_nan(rows[:, :, :size], s[:, :, tf.newaxis])
    return s, tf.transpose(u, [0, 2, 1]), tf.transpose(rows[:, :, size:], [0, 2, 1])
