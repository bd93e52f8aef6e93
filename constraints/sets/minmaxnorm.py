"""The l2 shell."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._radial import RadialSet


@dataclasses.dataclass(frozen=True, eq=False)
class MinMaxNorm(RadialSet):
    """Groups of l2 norm from `min_value` to `max_value`: argmin_p ||p - x|| over the shell { p : a <= ||p|| <= b }.

    The nearest point is `x * clip(||x||, a, b) / ||x||`; for the zero vector, n entries of a n^(-1/2) are taken. Convex
    only for a = 0. A shell thinner than the type's rounding counts as a sphere. O(n).

    Attributes:
      max_value: b above 0; a schedule may reach 0.
      min_value: a from 0 to b, at every step if either is a schedule.
    """

    convex: ClassVar[bool] = False
    max_value: Any = hyperparameter(1.0, "Largest norm of a unit's incoming weights.", above=0.0, kw_only=True)
    min_value: Any = hyperparameter(0.0, "Smallest norm of a unit's incoming weights.", minimum=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("min_value", "max_value")

    def factor(self, norm: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        low, high = self.value("min_value"), self.value("max_value")
        slack, room = numerics.slack(size), tf.where(self.sphere(size, dtype), self._rounding(size, dtype), 0.0)
        inside = (norm >= low * (1.0 - slack) - room) & (norm <= high * (1.0 + slack) + room)
        return tf.where(inside | ~tf.math.is_finite(norm), tf.ones_like(norm), tf.clip_by_value(norm, low, high) / norm)

    def origin(self, size: int) -> tf.Tensor:
        return self.value("min_value")

    def sphere(self, size: int, dtype: tf.DType) -> tf.Tensor:
        return self.value("max_value") - self.value("min_value") <= 4.0 * self._rounding(size, dtype)

    def certainly_feasible(self, norm: tf.Tensor, relative: float, absolute: float) -> tf.Tensor:
        low = tf.cast(self.value("min_value") * (1.0 + 2.0 * relative), norm.dtype)
        high = tf.cast((self.value("max_value") - absolute) * (1.0 - relative), norm.dtype)
        return (tf.reduce_min(norm) >= low) & (tf.reduce_max(norm) < high)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        low, high, norm = self.value("min_value"), self.value("max_value"), numerics.l2(tf.cast(w, tf.float64), w.dtype)
        return (norm >= high * (1.0 - 1e-6)) | ((low > 0.0) & (norm <= low * (1.0 + 1e-6)))

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)

    def _rounding(self, size: int, dtype: tf.DType) -> tf.Tensor:
        return numerics.epsilon(dtype) * self.value("max_value") + numerics.quantum(dtype) * size**0.5
