"""The hyperplane of a given sum."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from ._affine import Plane


@dataclasses.dataclass(frozen=True, eq=False)
class Hyperplane(Plane):
    """Groups that sum to `total`: the hyperplane { x : a.x = b } with a = (1, ..., 1).

    The nearest point of x is `x + (b - sum x_i) / n`, n weights in a group. Convex, unique. A group whose sum is b to
    within the rounding of its type, relative to its sum of magnitudes, is on the hyperplane and stays. O(n).

    Attributes:
      total: b, any finite number; with 0 it is `zerosum`.

    References:
      Boyd and Vandenberghe, "Convex Optimization", 2004, section 8.1.
    """

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, of any sign.")

    def boundary(self) -> tf.Tensor:
        return self.value("total")
