"""Balls, spheres and shells of the l2 norm for many float32 weights."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics.reductions import compiled, is_sharded, jit_glue, squares
from ..sets._radial import RadialSet

# Weights from which compiled passes are faster than TensorFlow's own kernels.
FAST_PATH_MIN_SIZE = 1 << 14
# Outside this range a float32 product may overflow, or flush to zero, where float64 does not.
SAFE_RANGE = 2.0**-60, 2.0**60


def project(radial: RadialSet, w: tf.Tensor) -> tf.Tensor | None:
    """Multiplies by the factor, which comes from a float64 norm.

    The product is taken in float64, except for medium-sized tensors, where float64 is slow and XLA has too much call
    overhead. There we multiply in float32 and first move the factor by one rounding error, so the bound still holds.
    The result is within two ulps.
    """
    if w.dtype != tf.float32 or numerics.is_small(w):
        return None
    if w.shape.num_elements() >= FAST_PATH_MIN_SIZE:
        return _scaled(radial, w)
    inside = None if numerics.in_xla() else radial.certainly_feasible(*numerics.l2_estimate(w))
    if inside is None:
        return _multiplied(radial, w)
    # One float32 pass tells whether all groups are well inside, where there is nothing to do.
    return tf.cond(inside, lambda: w, lambda: _multiplied(radial, w))


def _scaled(radial: RadialSet, w: tf.Tensor) -> tf.Tensor:
    size = w.shape[0]

    def scales(w: tf.Tensor) -> tuple[tf.Tensor, ...]:
        norm, origin = tf.sqrt(squares(w)), radial.origin(size)
        factor = radial.factor(norm, size, w.dtype)
        factor = tf.where((norm == 0.0) & (origin > 0.0), tf.zeros_like(norm), factor)
        inside = tf.reduce_all(tf.equal(factor, 1.0))
        return inside, factor, origin * max(size, 1) ** -0.5, radial.sphere(size, w.dtype)

    inside, *how = (scales if is_sharded(w) else jit_glue(scales))(w)
    return tf.cond(inside, lambda: w, numerics.outlined(lambda: _product(w, *how)))


def _multiplied(radial: RadialSet, w: tf.Tensor) -> tf.Tensor:
    size = w.shape[0]
    norm = numerics.l2(tf.cast(w, tf.float64), w.dtype)
    factor = radial.factor(norm, size, w.dtype)
    safe = (factor >= SAFE_RANGE[0]) & (factor <= SAFE_RANGE[1]) & ((norm > 0.0) | (radial.origin(size) <= 0.0))
    return tf.cond(
        tf.reduce_all(safe | ~tf.math.is_finite(norm)),
        lambda: w * numerics.factor_for_product(factor, radial.sphere(size, w.dtype), size),
        numerics.outlined(lambda: radial._project_reference(w)),
    )


@compiled
def _product(w: tf.Tensor, factor: tf.Tensor, origin: tf.Tensor, sphere: tf.Tensor) -> tf.Tensor:
    """Each column times its factor, rounded to the side of the set, or to nearest for a sphere: float32 [size, groups].

    The factor is 1 for columns that stay, and 0 for those of zeros, which become `origin`.
    """
    p = tf.where(tf.equal(factor, 0.0), origin, tf.cast(w, tf.float64) * factor)
    safe = tf.where(
        (factor > 1.0) | tf.equal(factor, 0.0), numerics.away_from_zero(p, w.dtype), numerics.toward_zero(p, w.dtype)
    )
    return tf.where(tf.equal(factor, 1.0), w, tf.where(sphere, numerics.nearest(p, w.dtype), safe))
