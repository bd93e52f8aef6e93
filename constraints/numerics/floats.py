"""The bits of floating-point numbers, and directed rounding from float64 back to a narrower type."""

from __future__ import annotations

import math

import tensorflow as tf

# An integer as wide as the float, so that one more or less is the next number away from or towards zero.
_INTEGERS = {tf.float16: tf.int16, tf.bfloat16: tf.int16, tf.float32: tf.int32, tf.float64: tf.int64}
_STORED_BITS = {tf.float16: 10, tf.bfloat16: 7, tf.float32: 23, tf.float64: 52}


# Weights that are exact up to the last bits of float64 ([6, 0] scaled to [2 - 2^-52, 0]) must not lose a float32 ulp.
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
    """Magnitudes as integers in the same order, 0 for both zeros alone: floats, any shape -> int16, int32 or int64."""
    integer = _INTEGERS[w.dtype]
    return tf.bitwise.bitwise_and(tf.bitcast(w, integer), tf.constant(integer.max, integer))


def negative(w: tf.Tensor) -> tf.Tensor:
    """Whether the sign bit is set: bool, the shape of `w`; -0.0 and some NaN have it too."""
    return tf.bitcast(w, _INTEGERS[w.dtype]) < 0


def nonzero(w: tf.Tensor) -> tf.Tensor:
    """Whether each weight is something other than a zero of either sign, as subnormals are: bool, the shape of `w`."""
    return tf.not_equal(magnitude_bits(w), 0)


def below_zero(w: tf.Tensor) -> tf.Tensor:
    """Whether a weight is below 0, even a subnormal one: bool, the shape of `w`; -0.0 and NaN are not."""
    # Do not compare a magnitude's bits with 0: LLVM compares floats instead, which takes subnormals for 0.
    bits = tf.bitcast(w, _INTEGERS[w.dtype])
    # As integers, -0.0 is the least, and negative NaN lie above -inf.
    return (bits > _INTEGERS[w.dtype].min) & (bits <= tf.bitcast(tf.constant(-math.inf, w.dtype), bits.dtype))


def in_order(w: tf.Tensor) -> tf.Tensor:
    """Floats as integers in the same order: any shape -> the same; both zeros are 0, and NaN means nothing."""
    bits = magnitude_bits(w)
    return tf.where(negative(w), -bits, bits)


def without_subnormals(w: tf.Tensor) -> tf.Tensor:
    """Sets subnormal weights to 0, except those of float16, which TensorFlow keeps: floats, any shape -> the same."""
    if w.dtype == tf.float16:
        return w
    bits = magnitude_bits(w)
    return tf.where((bits > 0) & (bits < 1 << _STORED_BITS[w.dtype]), tf.zeros_like(w), w)


def nearest(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Rounds float64 to the nearest number of the type, halves to even.

    Only once: TensorFlow casts to narrower types by way of float32, which may round a number onto a half of the narrow
    type. So the last bit of float32 is set where a remainder is lost.
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
