"""Radial sets, decided by the l2 norm alone: balls, spheres and shells."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint


class RadialSet(Constraint):
    """A set whose nearest point is the group times a factor, which depends on the group's l2 norm alone.

    A subclass says the factor, and what a group of zeros becomes where zero is infeasible.
    """

    permutation_invariant: ClassVar[bool] = True

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
        return tf.zeros([], tf.float64)

    def sphere(self, size: int, dtype: tf.DType) -> tf.Tensor:
        """Whether the set is as thin as the type's rounding, so that norms are rounded to nearest: bool scalar."""
        return tf.constant(False)

    def certainly_feasible(self, norm: tf.Tensor, relative: float, absolute: float) -> tf.Tensor | None:
        """Whether all columns are certainly feasible: bool scalar; None where a set cannot tell.

        Args:
          norm: float32 [groups], estimates.
          relative: their relative error.
          absolute: their absolute error.
        """
        return None

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        size = x.shape[0]
        norm = numerics.l2(x, dtype)
        scaled = x * self.factor(norm, size, dtype)
        return tf.where((norm == 0.0) & (self.origin(size) > 0.0), self.origin(size) * max(size, 1) ** -0.5, scaled)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """A group that is scaled to a bound b has the derivative b / ||x|| (I - u u^T), u = x / ||x||."""
        norm = numerics.l2(x, dtype)
        factor = self.factor(norm, x.shape[0], dtype)
        unit = tf.math.divide_no_nan(x, norm)
        tangent = upstream - unit * tf.reduce_sum(unit * upstream, axis=0)
        moved = tf.where(norm > 0.0, factor * tangent, tf.zeros_like(x))
        return tf.where(tf.equal(factor, 1.0), upstream, moved)

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        def directed() -> tf.Tensor:
            grown = (tf.abs(p) > tf.abs(x)) & tf.math.is_finite(p)
            return tf.where(grown, numerics.away_from_zero(p, dtype), numerics.toward_zero(p, dtype))

        return tf.cond(self.sphere(x.shape[0], dtype), lambda: numerics.nearest(p, dtype), directed)
