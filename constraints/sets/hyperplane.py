"""The hyperplane of a given sum."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..hyperparameters import hyperparameter
from ._affine import SumEquality


@dataclasses.dataclass(frozen=True, eq=False)
class Hyperplane(SumEquality):
    """Groups that sum to `total`: argmin_p ||p - x|| over the hyperplane { p : sum p_i = b }.

    The nearest point is `x + (b - sum x_i) / n`, n weights in a group. Convex, unique. A group whose sum is b to within
    the rounding of its type, relative to its sum of magnitudes, stays. O(n).

    Attributes:
      total: b, any finite number; with 0 it is `zerosum`.

    References:
      Boyd and Vandenberghe, "Convex Optimization", 2004, section 8.1.
    """

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, of any sign.")
