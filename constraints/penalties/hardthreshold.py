"""Hard thresholding: the proximal map of the number of non-zeros."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._base import Proximal, holds_a_zero


@dataclasses.dataclass(frozen=True, eq=False)
class HardThreshold(Proximal):
    """A price for each non-zero: h(p) = penalty * ||p||_0.

    A step of length r keeps the weights of magnitude above `sqrt(2 r * penalty)` bit for bit and sets the others to 0,
    weight by weight. Not convex; at equality x and 0 are both minimisers and 0 is taken, the sparser. Zeros stay, inf
    and NaN stay in their own weight. O(n), no rounding.

    Attributes:
      penalty: price of a non-zero, at least 0; 0 leaves every weight as it is.

    References:
      Donoho and Johnstone, "Ideal spatial adaptation by wavelet shrinkage", 1994.
      Blumensath and Davies, "Iterative Thresholding for Sparse Approximations", 2008.
    """

    convex: ClassVar[bool] = False

    penalty: Any = hyperparameter(0.0001, "Penalty on each weight that is not zero.", minimum=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(tf.abs(x) <= self._threshold(dtype), tf.zeros_like(x), x)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        # By the bits, as comparisons take subnormals for zero; they go as soon as anything does.
        least = numerics.magnitude_bits(tf.constant(numerics.quantum(w.dtype), w.dtype)) - 1
        bits = tf.maximum(numerics.magnitude_bits(tf.cast(self._threshold(w.dtype), w.dtype)), least)
        kept = numerics.magnitude_bits(w) > tf.where(self.scaled("penalty") > 0.0, bits, -tf.ones_like(bits))
        return tf.where(kept, w, tf.zeros_like(w))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        gone = (tf.abs(x) <= self._threshold(dtype)) & (self.scaled("penalty") > 0.0)
        return tf.where(gone, tf.zeros_like(x), upstream)

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return self.value("penalty") * _count(x)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return _count(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return holds_a_zero(w, self.scaled("penalty"))

    def _threshold(self, dtype: tf.DType) -> tf.Tensor:
        """The largest number of the type that goes: float64 scalar."""
        threshold = tf.minimum(tf.sqrt(2.0 * self.scaled("penalty")), float(dtype.max))
        return tf.cast(numerics.toward_zero(threshold, dtype), tf.float64)


def _count(x: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(numerics.magnitude_bits(x), axis=0, dtype=tf.float64)
