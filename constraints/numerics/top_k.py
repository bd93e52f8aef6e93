"""The k largest magnitudes of each column, by their bits."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics

# The layout of float64.
_STORED, _BIAS = 52, 1023

# Squares become integers below 2^(_SQUARE_BITS + 2), which are summed in halves of _HALF bits and the rest.
_SQUARE_BITS, _HALF = 60, 31
# Exponents this far below the largest weight's, whose squares are 0 in that many bits.
_FAR = 1000


def num_nonzeros(sparsity: tf.Tensor, size: int) -> tf.Tensor:
    """How many of `size` weights, units or blocks a sparsity leaves: size - round(sparsity size), int32."""
    return tf.cast(size - tf.round(sparsity * size), tf.int32)


def top_k_mask(bits: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Marks the `k` largest entries of each column, the first of equal ones.

    Args:
      bits: integers [size, groups].
      k: int32 scalar, at most size.

    Returns:
      bool [size, groups].
    """
    threshold = _kth_by_bisection(bits, k) if numerics.in_xla() else kth(bits, k)
    count = tf.reduce_sum(tf.cast(bits >= threshold, tf.int32), axis=0)

    def first_of_equals() -> tf.Tensor:
        above, equal = bits > threshold, tf.equal(bits, threshold)
        room = k - tf.reduce_sum(tf.cast(above, tf.int32), axis=0)
        return above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=0) <= room))

    return tf.cond(tf.reduce_any(count != k), first_of_equals, lambda: bits >= threshold)


def transposed(x: tf.Tensor) -> tf.Tensor:
    """The transpose of a matrix; of a single row or column by a reshape, as oneDNN warns about integers and bools."""
    return tf.reshape(x, x.shape[::-1]) if 1 in x.shape else tf.transpose(x)


def kth(bits: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """The `k`-th largest entry of each column [groups], by a kernel that XLA lacks."""
    if 0 in bits.shape:
        return tf.zeros([bits.shape[1]], bits.dtype)
    return tf.raw_ops.NthElement(input=transposed(bits), n=tf.maximum(k - 1, 0), reverse=True)


def _kth_by_bisection(bits: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """The same, or any number that as many entries reach: settles one bit a pass."""

    def refine(bit: tf.Tensor, threshold: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        higher = tf.reduce_sum(tf.cast(bits >= threshold + bit, tf.int32), axis=0)
        enough = higher >= k
        return bit // 2, tf.where(enough, threshold + bit, threshold), tf.where(enough, higher, count)

    positive = tf.reduce_sum(tf.cast(bits >= 0, tf.int32), axis=0)
    enough = positive >= k
    start = (
        tf.constant(1 << (8 * bits.dtype.size - 2), bits.dtype),
        tf.where(enough, tf.zeros([], bits.dtype), bits.dtype.min),
        tf.where(enough, positive, bits.shape[0]),
    )
    return tf.while_loop(lambda bit, _, count: (bit > 0) & tf.reduce_any(count != k), refine, start)[1]


def exact_square_sums(w: tf.Tensor) -> tf.Tensor:
    """Sums of squares of many weights each, as integers in the same order, whatever the weights' type and size.

    Squares relative to a power of two near the largest weight are summed as integers, so the order of a sum does not
    matter, here and under XLA. Nothing overflows. Sums that agree to some 2^-48 may count as equal.

    Args:
      w: finite floats [groups, size, sums].

    Returns:
      int64 [groups, sums]; 0 for zeros alone.
    """
    if 0 in w.shape:
        return tf.zeros([w.shape[0], w.shape[2]], tf.int64)
    bits = tf.cast(numerics.magnitude_bits(w), tf.int64)
    top = tf.reduce_max(bits, axis=1, keepdims=True)
    whole, exponent = _split(bits, w.dtype)
    largest_whole, level = _split(top, w.dtype)
    # A whole number's exponent is that of its leading bit, which the largest subnormal has lower than others.
    level += _exponent(tf.maximum(largest_whole, 1.0))
    relative = whole * _power(tf.maximum(exponent - level, -_FAR))  # Below 2, the largest at least 1.
    squares = tf.cast(tf.square(relative) * 2.0**_SQUARE_BITS, tf.int64)
    # In halves, so that the sum of many fits.
    high = tf.reduce_sum(tf.bitwise.right_shift(squares, _HALF), axis=1)
    low = tf.reduce_sum(tf.bitwise.bitwise_and(squares, tf.constant((1 << _HALF) - 1, tf.int64)), axis=1)
    total = tf.cast(high, tf.float64) * 2.0**_HALF + tf.cast(low, tf.float64)
    # A float with an exponent that is wide enough: two bits fewer for the sum, counted from the least it can be.
    least = (_BIAS + _SQUARE_BITS) << _STORED
    sums = tf.bitwise.right_shift(tf.bitcast(total, tf.int64) - least, 2)
    level, top = tf.squeeze(level, 1), tf.squeeze(top, 1)
    return tf.where(top > 0, sums + tf.bitwise.left_shift(level, _STORED - 1) + 1, tf.zeros_like(top))


def _split(bits: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Magnitudes as whole numbers times powers of two, the type's smallest subnormal being 1: float64 and int64."""
    stored = numerics.stored_bits(dtype)
    # Subnormals have the exponent of the smallest normal numbers, and no leading bit to add.
    exponent = tf.maximum(tf.bitwise.right_shift(bits, stored) - 1, 0)
    return tf.cast(bits - tf.bitwise.left_shift(exponent, stored), tf.float64), exponent


def _exponent(x: tf.Tensor) -> tf.Tensor:
    """floor(log2(x)) of normal float64, as int64."""
    return tf.bitwise.right_shift(tf.bitcast(x, tf.int64), _STORED) - _BIAS


def _power(exponent: tf.Tensor) -> tf.Tensor:
    """2.0**exponent in float64, of int64 within the range of normal numbers."""
    return tf.bitcast(tf.bitwise.left_shift(exponent + _BIAS, _STORED), tf.float64)
