"""Floating point: float64 norms, honest rounding back to a narrower type, and exact zeros."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf
from tensorflow.python.ops import control_flow_util

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


# TensorFlow's comparisons, selections and bit operations take several times as long as its arithmetic. Where a formula
# needs them to keep the last bits right, tensors of up to this many weights use it, and larger ones their arithmetic.
FEW = 256


def few(w: tf.Tensor) -> bool:
    """Whether there are so few weights that the most exact formula costs nothing that could be noticed."""
    return w.shape.num_elements() <= FEW


# From so many weights on, what XLA compiles into one loop saves more than it costs to call, see `constraints.passes`.
MANY = 1 << 17


def many(w: tf.Tensor) -> bool:
    """Whether there are so many float32 weights that memory is all that a formula costs."""
    return w.dtype == tf.float32 and w.shape.num_elements() >= MANY


def rarely(function: Callable[[], tf.Tensor]) -> Callable[[], tf.Tensor]:
    """Makes a branch of `tf.cond` cost nothing where it is not taken.

    The branches of a condition become part of the graph around it, and each operation that is skipped costs some time
    in every step; kept as a function, a branch is one operation.
    """
    if tf.executing_eagerly():
        return function  # There is no graph to keep it out of, and each call would trace it anew.
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})


def in_xla() -> bool:
    """Whether what is being traced will be compiled by XLA, which lacks the kernels of some shortcuts.

    A `tf.function` first traced outside XLA keeps the shortcuts; one that is called inside as well needs a trace for
    each.
    """
    graph = tf.compat.v1.get_default_graph()
    # No public function tells; without this one, what works everywhere is always used.
    known = getattr(control_flow_util, "GraphOrParentsInXlaContext", None)
    return not tf.executing_eagerly() and (known is None or known(graph))


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
        return tf.sqrt(tf.reduce_sum(tf.square(x), axis=0)) if in_xla() else tf.math.reduce_euclidean_norm(x, axis=0)
    largest = tf.reduce_max(tf.abs(x), axis=0)
    # Powers of two, which round nothing: a norm that XLA computes twice, or fuses into a difference, is the same norm.
    power = tf.bitcast(tf.bitwise.bitwise_and(tf.bitcast(largest, tf.int64), tf.constant(-1 << 52, tf.int64)), x.dtype)
    unit = tf.where((power > 0.0) & tf.math.is_finite(power), power, 1.0)
    return unit * tf.sqrt(tf.reduce_sum(tf.square(x / unit), axis=0))


def l2_estimate(w: tf.Tensor) -> tuple[tf.Tensor, float, float]:
    """Euclidean norm of each column in one cheap pass; not for XLA.

    Args:
      w: float32 [size, groups].

    Returns:
      float32 [groups], inf where squares overflow; the relative error it may have, once compared in float32; and an
      absolute one, of squares below the smallest normal number, which are flushed to zero.
    """
    size = w.shape[0]
    return tf.math.reduce_euclidean_norm(w, axis=0), (size + 16) * 2.0**-24, (size * 2.0**-126) ** 0.5


def factor_for_product(factor: tf.Tensor, sphere: tf.Tensor, size: int) -> tf.Tensor:
    """Rounds factors so that a float32 product with them errs to the safe side: no ball is left, no sphere undercut.

    Args:
      factor: float64 [groups], above 0 or NaN; 1 stays 1.
      sphere: bool scalar, whether to round to nearest instead.
      size: number of weights in a group.

    Returns:
      float32 [groups].
    """
    # The product's own rounding, one half of a unit in the last place, and the norm's.
    margin = 2.0**-24 + slack(size)
    smaller = toward_zero(factor * (1.0 - margin), tf.float32)
    larger = away_from_zero(factor * (1.0 + margin), tf.float32)
    directed = tf.where(factor < 1.0, smaller, tf.where(factor > 1.0, larger, tf.ones_like(smaller)))
    return tf.where(sphere, tf.cast(factor, tf.float32), directed)


def column_sums(x: tf.Tensor) -> tuple[tf.Tensor, float]:
    """Sum of each column in one cheap pass.

    Args:
      x: float32 [size, groups], at least 0.

    Returns:
      float32 [groups], exact for whole numbers below 2^24; the relative error it may have otherwise, once compared in
      float32.
    """
    ones = tf.ones([x.shape[0]], x.dtype)
    return tf.linalg.matvec(x, ones, transpose_a=True), (x.shape[0] + 16) * 2.0**-24


def l1(x: tf.Tensor) -> tf.Tensor:
    """Sum of magnitudes of each column: [size, groups] -> [groups]."""
    return tf.reduce_sum(tf.abs(x), axis=0)


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
