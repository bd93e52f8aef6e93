"""The bits of floating-point numbers, and directed rounding from float64 back to a narrower type."""

from __future__ import annotations

import math

import tensorflow as tf

# An integer as wide as the float, so that one more or less is the next number away from or towards zero.
_INTEGERS = {tf.float16: tf.int16, tf.bfloat16: tf.int16, tf.float32: tf.int32, tf.float64: tf.int64}
_STORED_BITS = {tf.float16: 10, tf.bfloat16: 7, tf.float32: 23, tf.float64: 52}


# Weights that are exact but for the last bits of float64 ([6, 0] scaled to [2 - 2^-52, 0]) must not lose a float32 ulp.
_NUDGE_ULPS = 16


def stored_bits(dtype: tf.DType) -> int:
    """Bits of the type's fraction."""
    return _STORED_BITS[dtype]


def epsilon(dtype: tf.DType) -> float:
    """Distance from 1 to the next number of the type."""
    return 2.0 ** -_STORED_BITS[dtype]


def quantum(dtype: tf.DType) -> float:
    """Smallest magnitude that the type keeps; TensorFlow flushes subnormals to zero, except those of float16."""
    return {tf.float16: 2.0**-24, tf.float64: 2.0**-1022}.get(dtype, 2.0**-126)


def slack(size: int) -> float:
    """Relative error that a float64 sum of `size` magnitudes, and rounding back, may leave in a norm.

    A norm within it of its bound counts as on the bound; without it a projected group could be found outside again.
    """
    return (4 * _NUDGE_ULPS + size) * 2.0**-52


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


def negative(w: tf.Tensor) -> tf.Tensor:
    """Whether the sign bit is set: bool, the shape of `w`; -0.0 and some NaN have it too."""
    return tf.bitcast(w, _INTEGERS[w.dtype]) < 0


def nonzero(w: tf.Tensor) -> tf.Tensor:
    """Whether each weight is something other than a zero of either sign, as subnormals are: bool, the shape of `w`."""
    return tf.not_equal(magnitude_bits(w), 0)


def below_zero(w: tf.Tensor) -> tf.Tensor:
    """Whether a weight is below 0, be it a subnormal: bool, the shape of `w`; -0.0 and NaN are not.

    Without a comparison of a magnitude's bits with 0, see `zeros_of`.
    """
    bits = tf.bitcast(w, _INTEGERS[w.dtype])
    # As integers, -0.0 is the least, and negative NaN lie above -inf.
    return (bits > _INTEGERS[w.dtype].min) & (bits <= tf.bitcast(tf.constant(-math.inf, w.dtype), bits.dtype))


def in_order(w: tf.Tensor) -> tf.Tensor:
    """Floats as integers in the same order, subnormals too; both zeros are 0, and NaN means nothing.

    Args:
      w: floats, any shape.

    Returns:
      int16, int32 or int64, the shape of `w`.
    """
    bits = magnitude_bits(w)
    return tf.where(negative(w), -bits, bits)


def without_subnormals(w: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Sets the chosen weights to 0 if they are subnormal, which comparisons of floats do not see.

    Args:
      w: floats [size, groups].
      chosen: bool [size, groups] or [groups].

    Returns:
      The shape and type of `w`.
    """
    bits = magnitude_bits(w)
    return tf.where(chosen & (bits > 0) & (bits < 1 << _STORED_BITS[w.dtype]), tf.zeros_like(w), w)


def without_flushing(w: tf.Tensor) -> tf.Tensor:
    """Weights in float64, subnormals as the smallest normal number of their sign rather than flushed to zero.

    A formula then tells whether it would move them.

    Args:
      w: floats, any shape.

    Returns:
      float64, the shape of `w`.
    """
    x = tf.cast(w, tf.float64)
    if w.dtype == tf.float16:
        return x  # Its subnormals are never flushed.
    bits, smallest = magnitude_bits(w), tf.constant(quantum(w.dtype), tf.float64)
    subnormal = (bits > 0) & (bits < 1 << _STORED_BITS[w.dtype])
    return tf.where(subnormal, tf.where(negative(w), -smallest, smallest), x)


def zeros_of(w: tf.Tensor) -> tf.Tensor:
    """-0.0 where a weight is that, 0.0 elsewhere, so that dropping what is zero already changes nothing.

    Without a comparison of bits with 0: LLVM makes one of floats of it, which takes subnormals for 0.
    """
    bits = tf.bitcast(w, _INTEGERS[w.dtype])
    sign = tf.constant(_INTEGERS[w.dtype].min, _INTEGERS[w.dtype])
    # Less one, the magnitude 0 alone has its sign bit set.
    alone = tf.bitwise.bitwise_and(magnitude_bits(w) - 1, sign)
    return tf.bitcast(tf.bitwise.bitwise_and(bits, alone), w.dtype)


def either(chosen: tf.Tensor, w: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """`tf.where` that keeps every bit: XLA selects between bfloat16 in float32, and flushes subnormals on the way back.

    Args:
      chosen: bool, the shape of `w`.
      w: floats, any shape.
      other: shape and type of `w`.

    Returns:
      Shape and type of `w`, which it is where chosen.
    """
    if w.dtype != tf.bfloat16:
        return tf.where(chosen, w, other)
    return tf.bitcast(tf.where(chosen, tf.bitcast(w, tf.int16), tf.bitcast(other, tf.int16)), w.dtype)


def nearest(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type, halves to even.

    Once: a cast to a type narrower than float32 goes by way of that, and what lies just beside a half of the narrow
    type is rounded onto the half first. So float32 is given a last bit that says what it lacks.
    """
    if dtype in (tf.float32, tf.float64):
        return tf.cast(x, dtype)
    bits, lacking = tf.bitcast(x, tf.int64), _surplus(tf.float32) - 1
    kept = tf.bitwise.bitwise_and(bits, tf.constant(~lacking, tf.int64))
    rest = tf.bitwise.bitwise_and(bits, tf.constant(lacking, tf.int64))
    odd = tf.bitwise.bitwise_or(kept, tf.where(rest > 0, tf.constant(lacking + 1, tf.int64), tf.zeros_like(rest)))
    return tf.cast(tf.cast(tf.bitcast(odd, tf.float64), tf.float32), dtype)


def toward_zero(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type that is not larger in magnitude, so that no norm grows."""
    if dtype == tf.float64:
        return x
    return _step_bits(x, dtype, -1) if dtype == tf.float16 else _clear_bits(x, dtype, _NUDGE_ULPS)


def with_sign(magnitude: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
    """Magnitudes with the signs of weights, 0.0 where they are 0: floats of one shape and type."""
    integer = _INTEGERS[w.dtype]
    sign = tf.bitwise.bitwise_and(tf.bitcast(w, integer), tf.constant(integer.min, integer))
    signed = tf.bitcast(tf.bitwise.bitwise_or(tf.bitcast(magnitude, integer), sign), w.dtype)
    return tf.where(magnitude > 0.0, signed, tf.zeros_like(w))


def away_from_zero(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type that is not smaller in magnitude, so that no norm shrinks."""
    if dtype == tf.float64:
        return x
    return _step_bits(x, dtype, 1) if dtype == tf.float16 else _clear_bits(x, dtype, _surplus(dtype) - 1 - _NUDGE_ULPS)


def _surplus(dtype: tf.DType) -> int:
    """Two to the number of mantissa bits that float64 has and the type lacks."""
    return 1 << (52 - _STORED_BITS[dtype])


def _clear_bits(x: tf.Tensor, dtype: tf.DType, ulps: int) -> tf.Tensor:
    """Adds float64 ulps and clears the bits that the type lacks, so that the cast is exact (or flushes a subnormal)."""
    bits = tf.bitwise.bitwise_and(tf.bitcast(x, tf.int64) + ulps, tf.constant(-_surplus(dtype), tf.int64))
    return tf.cast(tf.bitcast(bits, tf.float64), dtype)


def _step_bits(x: tf.Tensor, dtype: tf.DType, step: int) -> tf.Tensor:
    """Rounds to nearest, then steps to the next number where that went the wrong way; right for subnormals too."""
    integer = _INTEGERS[dtype]
    y = tf.cast(x, dtype)
    missed = step * (tf.abs(x) - tf.abs(tf.cast(y, tf.float64))) > _NUDGE_ULPS * 2.0**-52 * tf.abs(x)
    return tf.bitcast(tf.bitcast(y, integer) + step * tf.cast(missed, integer), dtype)
