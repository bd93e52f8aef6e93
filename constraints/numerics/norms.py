"""Norms and sums of columns in float64, and cheap float32 estimates of them."""

from __future__ import annotations

import tensorflow as tf

from . import floats, xla


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
        return (
            tf.sqrt(tf.reduce_sum(tf.square(x), axis=0)) if xla.in_xla() else tf.math.reduce_euclidean_norm(x, axis=0)
        )
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
    margin = 2.0**-24 + floats.slack(size)
    smaller = floats.toward_zero(factor * (1.0 - margin), tf.float32)
    larger = floats.away_from_zero(factor * (1.0 + margin), tf.float32)
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
