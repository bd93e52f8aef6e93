"""The elastic net: the proximal map of the l1 norm and half the squared l2 norm together."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from .softthreshold import SoftThreshold


@dataclasses.dataclass(frozen=True, eq=False)
class ElasticNet(SoftThreshold):
    """A penalty on magnitudes and on squares: h(p) = penalty * ||p||_1 + ridge / 2 * ||p||^2.

    A step of length r maps x to `sign(x) max(|x| - t, 0) / (1 + r * ridge)`, t = r * penalty, weight by weight: soft
    thresholding, then weight decay. Convex, so the minimiser is unique; magnitudes up to t become exactly 0, zeros
    stay, inf and NaN stay in their own weight. O(n).

    Attributes:
      penalty: weight of the l1 norm, at least 0.
      ridge: weight of half the squared l2 norm, at least 0; with a penalty of 0 too, every weight stays as it is.

    References:
      Zou and Hastie, "Regularization and variable selection via the elastic net", 2005.
      Parikh and Boyd, "Proximal Algorithms", 2014.
    """

    ridge: Any = hyperparameter(0.01, "Penalty on half the sum of squares.", minimum=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return super()._project(x, dtype) * self.decay()

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return super()._vjp(x, upstream, dtype) * self.decay()

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return super().penalty_of(x) + 0.5 * self.value("ridge") * tf.reduce_sum(tf.square(x), axis=0)

    def decay(self) -> tf.Tensor:
        # A factor: graphs divide by a constant by multiplying with its inverse, to another last bit.
        return 1.0 / (1.0 + self.scaled("ridge"))
