"""Soft thresholding: the proximal map of the l1 norm."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._base import Proximal, holds_a_zero

# The difference of a float32 weight and a larger float64 threshold is 0 or a normal number of both types.
USUAL = 2.0**-60


@dataclasses.dataclass(frozen=True, eq=False)
class SoftThreshold(Proximal):
    """A penalty on the sum of magnitudes: h(p) = penalty * ||p||_1, as in the lasso.

    A step of length r maps x to `sign(x) max(|x| - t, 0)`, t = r * penalty, weight by weight: x less its projection on
    the box [-t, t]. Convex, so the minimiser is unique; magnitudes up to t become exactly 0, zeros stay, inf and NaN
    stay in their own weight. O(n). For more than a few float32 weights, zeros come back as 0.0, whatever their sign.

    Attributes:
      penalty: weight of the norm, at least 0; 0 leaves every weight as it is.

    References:
      Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.
      Daubechies, Defrise and De Mol, "An iterative thresholding algorithm for linear inverse problems with a sparsity
      constraint", 2004.
    """

    penalty: Any = hyperparameter(0.01, "Penalty on the sum of magnitudes.", minimum=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        threshold = self.scaled("penalty")
        return x - tf.minimum(tf.maximum(x, -threshold), threshold)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w) or numerics.in_xla():
            return super().nearest(w)
        exactly = numerics.rarely(lambda: super(SoftThreshold, self).nearest(w))
        # The formula alone, where no weight stays as it is and none is flushed to -0.0.
        return tf.cond(self.usual(), lambda: tf.cast(self.project(tf.cast(w, tf.float64), w.dtype), w.dtype), exactly)

    def usual(self) -> tf.Tensor:
        """Whether every float32 weight is mapped to 0 or to a normal number: bool scalar."""
        return self.scaled("penalty") > USUAL

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        threshold = self.scaled("penalty")
        return tf.where((tf.abs(x) <= threshold) & (threshold > 0.0), tf.zeros_like(x), upstream)

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return self.value("penalty") * numerics.l1(x)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return holds_a_zero(w, self.scaled("penalty"))
