"""Sets bounded by the plane on which a group sums to a total."""

from __future__ import annotations

from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint


class SumConstraint(Constraint):
    """A set whose nearest point is the group plus one number.

    A subclass says which sums are feasible. Weights are taken relative to their group's first and shifted twice, so
    that nearly equal weights still sum to the total within a few roundings of their differences; equal weights stay
    equal.
    """

    permutation_invariant: ClassVar[bool] = True

    def boundary(self) -> tf.Tensor:
        """The sum that an infeasible group is given: float64 scalar."""
        return self.value("total")

    def feasible(self, excess: tf.Tensor, magnitude: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        """Whether a column may stay: bool [groups].

        Args:
          excess: float64 [groups], its sum less that on the boundary.
          magnitude: float64 [groups], its sum of magnitudes, which the rounding of its sum is relative to.
          size: number of weights in a group.
          dtype: the weights' own type, which says how close counts as on the boundary.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `feasible`.")

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        size, total, magnitude = x.shape[0], self.boundary(), numerics.l1(x)
        stays = self.feasible(tf.reduce_sum(x, axis=0) - total, magnitude, size, dtype)
        stays |= ~tf.math.is_finite(magnitude)
        zero = tf.zeros([], tf.float64)
        # Nothing is subtracted from a column that stays, to the bit, so that no selection is needed among the weights.
        z = x - tf.where(stays, zero, x[:1])
        # Multiplied, as TensorFlow makes of a division by a constant in graphs, where it would round otherwise.
        share = 1.0 / max(size, 1)
        shift = (tf.reduce_sum(z, axis=0) - total) * share
        shift += (tf.reduce_sum(z - shift, axis=0) - total) * share
        return z - tf.where(stays, zero, shift)


class SumEquality(SumConstraint):
    """A set that is the plane itself: sums are rounded to nearest, and compared as closely as that allows."""

    thin: ClassVar[bool] = True

    def feasible(self, excess: tf.Tensor, magnitude: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        room = (0.5 * numerics.epsilon(dtype) + numerics.slack(size)) * magnitude + numerics.quantum(dtype) * size
        return tf.abs(excess) <= room

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)
