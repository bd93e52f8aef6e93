"""Soft thresholding: the proximal map of the l1 norm."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._base import Proximal, holds_a_zero


@dataclasses.dataclass(frozen=True, eq=False)
class SoftThreshold(Proximal):
    """A penalty on the sum of magnitudes: h(p) = penalty * ||p||_1, as in the lasso.

    A step of length r maps x to `sign(x) max(|x| - t, 0)`, t = r * penalty, weight by weight: x less its projection on
    the box [-t, t]. Convex, so the minimiser is unique; magnitudes up to t become exactly 0, zeros stay, inf and NaN
    stay in their own weight. O(n).

    Attributes:
      penalty: weight of the norm, at least 0; 0 leaves every weight as it is.

    References:
      Tibshirani, "Regression Shrinkage and Selection via the Lasso", 1996.
      Daubechies, Defrise and De Mol, "An iterative thresholding algorithm for linear inverse problems with a sparsity
      constraint", 2004.
    """

    penalty: Any = hyperparameter(0.01, "Penalty on the sum of magnitudes.", minimum=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        threshold = self.scaled("penalty")
        return x - tf.minimum(tf.maximum(x, -threshold), threshold)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        threshold = self.scaled("penalty")
        return tf.where((tf.abs(x) <= threshold) & (threshold > 0.0), tf.zeros_like(x), upstream)

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return self.value("penalty") * numerics.l1(x)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return holds_a_zero(w, self.scaled("penalty"))

    def decay(self) -> tf.Tensor:
        """What a weight is multiplied by after thresholding: float64 scalar."""
        return tf.ones([], tf.float64)
