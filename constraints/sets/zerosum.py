"""Groups of mean zero."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from ._affine import SumEquality


@dataclasses.dataclass(frozen=True, eq=False)
class ZeroSum(SumEquality):
    """Groups that sum to zero: argmin_p ||p - x|| over the plane { p : sum p_i = 0 }.

    The nearest point is x less its mean. Convex, unique. A group whose sum is 0 to within the rounding of its type,
    relative to its sum of magnitudes, stays; equal weights become exactly 0. O(n).

    References:
      Huang, Liu, Lang and Liu, "Centered Weight Normalization in Accelerating Training of Deep Neural Networks", 2017.
      Qiao, Wang, Liu, Shen and Yuille, "Micro-Batch Training with Batch-Channel Normalization and Weight
      Standardization", 2019.
    """

    cone: ClassVar[bool] = True

    def boundary(self) -> tf.Tensor:
        return tf.zeros([], tf.float64)
