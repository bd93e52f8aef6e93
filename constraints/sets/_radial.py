"""Sets whose nearest point of a group is the group times a number: balls, spheres and shells of the l2 norm."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..numerics.reductions import between_passes, compiled, in_parts, squares

# Weights from which compiled passes are faster than TensorFlow's own.
_WORTHWHILE = 1 << 14
# Factors beyond these could make a float32 product overflow, or flush it to zero, that float64 holds.
_USUAL = 2.0**-60, 2.0**60


class Rescaling(Constraint):
    """A set that a group reaches by being multiplied by a factor, which depends on the group's norm alone.

    A subclass says the factor, and what a group of zeros becomes where zero is infeasible.

    Norms are always taken in float64. So is the product, but for a middling number of float32 weights, where it would
    cost more than all the rest, and XLA, which makes it cost nothing, more to call: there the factor is first moved by
    as much as a float32 product may be rounded, so that the bound holds all the same and the result is within two units
    in the last place of the nearest point. Next to a group that is moved in this way, TensorFlow flushes the subnormal
    weights of other groups to zero, as all its arithmetic does.
    """

    exchangeable: ClassVar[bool] = True

    def factor(self, norm: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        """What each column is multiplied by: exactly 1 where it is feasible or not finite.

        Args:
          norm: float64 [groups].
          size: number of weights in a group.
          dtype: the weights' own type, which says how close counts as on a sphere.

        Returns:
          float64 [groups].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `factor`.")

    def origin(self, size: int) -> tf.Tensor:
        """Norm of the point that a column of zeros becomes, all its entries equal: float64 scalar, 0 to leave it."""
        del size
        return tf.zeros([], tf.float64)

    def sphere(self, size: int, dtype: tf.DType) -> tf.Tensor:
        """Whether the set is as thin as the type's rounding, so that norms are rounded to nearest: bool scalar."""
        del size, dtype
        return tf.constant(False)

    def surely_inside(self, norm: tf.Tensor, relative: float, absolute: float) -> tf.Tensor | None:
        """Whether all columns are feasible beyond doubt: bool scalar; None where that is never so.

        Args:
          norm: float32 [groups], estimates.
          relative: their relative error.
          absolute: their absolute error.
        """
        del norm, relative, absolute
        return None

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        size = x.shape[0]
        norm = numerics.l2(x, dtype)
        scaled = x * self.factor(norm, size, dtype)
        return tf.where((norm == 0.0) & (self.origin(size) > 0.0), self.origin(size) * max(size, 1) ** -0.5, scaled)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """A group that is scaled to a bound b has the derivative b / ||x|| (I - u u^T), u = x / ||x||."""
        norm = numerics.l2(x, dtype)
        factor = self.factor(norm, x.shape[0], dtype)
        unit = tf.math.divide_no_nan(x, norm)
        tangent = upstream - unit * tf.reduce_sum(unit * upstream, axis=0)
        moved = tf.where(norm > 0.0, factor * tangent, tf.zeros_like(x))
        return tf.where(tf.equal(factor, 1.0), upstream, moved)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        def directed() -> tf.Tensor:
            grown = (tf.abs(p) > tf.abs(x)) & tf.math.is_finite(p)
            return tf.where(grown, numerics.away_from_zero(p, dtype), numerics.toward_zero(p, dtype))

        return tf.cond(self.sphere(x.shape[0], dtype), lambda: numerics.nearest(p, dtype), directed)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w):
            return super().nearest(w)
        if w.shape.num_elements() >= _WORTHWHILE:
            return self._scaled(w)
        inside = None if numerics.in_xla() else self.surely_inside(*numerics.l2_estimate(w))
        if inside is None:
            return self._multiplied(w)
        # While all groups are well inside, which one pass in float32 can tell, there is nothing to do.
        return tf.cond(inside, lambda: w, lambda: self._multiplied(w))

    def _scaled(self, w: tf.Tensor) -> tf.Tensor:
        size = w.shape[0]

        def scales(w: tf.Tensor) -> tuple[tf.Tensor, ...]:
            norm, origin = tf.sqrt(squares(w)), self.origin(size)
            factor = self.factor(norm, size, w.dtype)
            factor = tf.where((norm == 0.0) & (origin > 0.0), tf.zeros_like(norm), factor)
            inside = tf.reduce_all(tf.equal(factor, 1.0))
            return inside, factor, origin * max(size, 1) ** -0.5, self.sphere(size, w.dtype)

        inside, *how = (scales if in_parts(w) else between_passes(scales))(w)
        return tf.cond(inside, lambda: w, numerics.rarely(lambda: _product(w, *how)))

    def _multiplied(self, w: tf.Tensor) -> tf.Tensor:
        size = w.shape[0]
        norm = numerics.l2(tf.cast(w, tf.float64), w.dtype)
        factor = self.factor(norm, size, w.dtype)
        usual = (factor >= _USUAL[0]) & (factor <= _USUAL[1]) & ((norm > 0.0) | (self.origin(size) <= 0.0))
        return tf.cond(
            tf.reduce_all(usual | ~tf.math.is_finite(norm)),
            lambda: w * numerics.factor_for_product(factor, self.sphere(size, w.dtype), size),
            numerics.rarely(lambda: super(Rescaling, self).nearest(w)),
        )


@compiled
def _product(w: tf.Tensor, factor: tf.Tensor, origin: tf.Tensor, sphere: tf.Tensor) -> tf.Tensor:
    """Each column times its factor, rounded to the side of the set.

    Args:
      w: float32 [size, groups].
      factor: float64 [groups]; 1 for columns that stay, 0 for those of zeros that become `origin`.
      origin: float64 scalar.
      sphere: bool scalar, whether to round to nearest instead.

    Returns:
      float32 [size, groups].
    """
    p = tf.where(tf.equal(factor, 0.0), origin, tf.cast(w, tf.float64) * factor)
    safe = tf.where(
        (factor > 1.0) | tf.equal(factor, 0.0), numerics.away_from_zero(p, w.dtype), numerics.toward_zero(p, w.dtype)
    )
    return tf.where(tf.equal(factor, 1.0), w, tf.where(sphere, numerics.nearest(p, w.dtype), safe))
