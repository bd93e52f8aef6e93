"""Floating point: float64 norms, honest rounding back to a narrower type, and exact zeros."""

from __future__ import annotations

import tensorflow as tf

# An integer as wide as the float, so that one more or less is the next number away from or towards zero.
_INTEGERS = {tf.float16: tf.int16, tf.bfloat16: tf.int16, tf.float32: tf.int32, tf.float64: tf.int64}
_STORED_BITS = {tf.float16: 10, tf.bfloat16: 7, tf.float32: 23, tf.float64: 52}

# Weights that are exact but for the last bits of float64 ([4, 0] scaled to [2 - 2^-52, 0]) must not lose a float32 ulp.
_NUDGE = 2.0**-48


def epsilon(dtype: tf.DType) -> float:
    """Distance from 1 to the next number of the type."""
    return 2.0 ** -_STORED_BITS[dtype]


def quantum(dtype: tf.DType) -> float:
    """Smallest magnitude that the type keeps; TensorFlow flushes subnormals to zero, except those of float16."""
    return {tf.float16: 2.0**-24, tf.float64: 2.0**-1022}.get(dtype, 2.0**-126)


def slack(size: int) -> float:
    """Relative error that a float64 sum of `size` magnitudes, and `_NUDGE`, may leave in a norm.

    A norm within it of its bound counts as on the bound; without it a projected group could be found outside again.
    """
    return 2.0 * _NUDGE + size * 2.0**-52


def magnitude_bits(w: tf.Tensor) -> tf.Tensor:
    """Magnitudes as integers in the same order.

    Subnormals are above zero here, which comparisons of floats cannot promise.

    Args:
      w: floats, any shape.

    Returns:
      int16, int32 or int64, the shape of `w`; 0 for both zeros.
    """
    integer = _INTEGERS[w.dtype]
    return tf.bitwise.bitwise_and(tf.bitcast(w, integer), tf.constant(integer.max, integer))


def finite_groups(x: tf.Tensor) -> tf.Tensor:
    """Whether all weights of a group are finite: [size, groups] -> bool [groups]."""
    return tf.reduce_all(tf.math.is_finite(x), axis=0)


def l2(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Euclidean norm of each column.

    Args:
      x: float64 [size, groups].
      dtype: the type the weights came from; the squares of anything narrower than float64 fit into float64.

    Returns:
      float64 [groups].
    """
    if dtype != tf.float64:
        return tf.sqrt(tf.reduce_sum(tf.square(x), axis=0))
    largest = tf.reduce_max(tf.abs(x), axis=0)
    unit = tf.where((largest > 0.0) & tf.math.is_finite(largest), largest, 1.0)
    return unit * tf.sqrt(tf.reduce_sum(tf.square(x / unit), axis=0))


def l1(x: tf.Tensor) -> tf.Tensor:
    """Sum of magnitudes of each column: [size, groups] -> [groups]."""
    return tf.reduce_sum(tf.abs(x), axis=0)


def nearest(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type."""
    return tf.cast(x, dtype)


def toward_zero(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type that is not larger in magnitude, so that no norm grows."""
    if dtype == tf.float64:
        return x
    x = x * (1.0 + _NUDGE)
    if dtype == tf.float16:
        return _step_bits(x, dtype, beyond=True)
    # Once the bits that the type lacks are cleared the cast is exact, or flushes a subnormal to zero.
    kept = -(1 << (52 - _STORED_BITS[dtype]))
    return tf.cast(
        tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(x, tf.int64), tf.constant(kept, tf.int64)), tf.float64), dtype
    )


def away_from_zero(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type that is not smaller in magnitude, so that no norm shrinks."""
    if dtype == tf.float64:
        return x
    return _step_bits(x * (1.0 - _NUDGE), dtype, beyond=False)


def _step_bits(x: tf.Tensor, dtype: tf.DType, beyond: bool) -> tf.Tensor:
    integer = _INTEGERS[dtype]
    y = tf.cast(x, dtype)
    rounded, exact = tf.abs(tf.cast(y, tf.float64)), tf.abs(x)
    if beyond:
        return tf.bitcast(tf.bitcast(y, integer) - tf.cast(rounded > exact, integer), dtype)
    return tf.bitcast(tf.bitcast(y, integer) + tf.cast(rounded < exact, integer), dtype)
