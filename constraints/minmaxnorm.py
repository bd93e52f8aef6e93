"""The l2 shell."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class MinMaxNorm(Constraint):
    """Groups of l2 norm from `min_value` to `max_value`: the shell { x : a <= ||x|| <= b }.

    The nearest point of x is `x * clip(||x||, a, b) / ||x||`. Convex only for a = 0; unique but for the zero vector,
    from which every point of the inner sphere is equally far: there the point with all entries equal to a n^(-1/2) is
    taken, n weights in a group. Between the spheres x stays. A shell thinner than the type's rounding is taken for a
    sphere. O(n).

    Attributes:
      max_value: b above 0; a schedule may reach 0.
      min_value: a from 0 to b, at every step if either is a schedule.
    """

    max_value: Any = hyperparameter(1.0, "Largest norm of a unit's incoming weights.", above=0.0, kw_only=True)
    min_value: Any = hyperparameter(0.0, "Smallest norm of a unit's incoming weights.", minimum=0.0, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("min_value", "max_value")

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        low, high = self.value("min_value"), self.value("max_value")
        norm = numerics.l2(x, dtype)
        room = numerics.slack(x.shape[0]) * high + tf.where(self._thin(x, dtype), self._rounding(x, dtype), 0.0)
        inside = (norm >= low - room) & (norm <= high + room)
        scaled = x * tf.where(
            inside | ~tf.math.is_finite(norm), tf.ones_like(norm), tf.clip_by_value(norm, low, high) / norm
        )
        return tf.where(inside | (norm != 0.0), scaled, low * max(x.shape[0], 1) ** -0.5)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        def directed() -> tf.Tensor:
            grown = numerics.l2(x, dtype) < self.value("min_value")
            # Each way of rounding costs a pass or two, and most often none or all of the groups grow.
            return tf.cond(
                tf.reduce_any(grown),
                lambda: tf.where(grown, numerics.away_from_zero(p, dtype), numerics.toward_zero(p, dtype)),
                lambda: numerics.toward_zero(p, dtype),
            )

        return tf.cond(self._thin(x, dtype), lambda: numerics.nearest(p, dtype), directed)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        low, high = self.value("min_value"), self.value("max_value")
        norm = numerics.l2(tf.cast(w, tf.float64), w.dtype)
        return (norm >= high * (1.0 - 1e-6)) | ((low > 0.0) & (norm <= low * (1.0 + 1e-6)))

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)

    def _rounding(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """How far rounding may take a norm from its bound: relative to it, and one quantum for each subnormal."""
        return numerics.epsilon(dtype) * self.value("max_value") + numerics.quantum(dtype) * x.shape[0] ** 0.5

    def _thin(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.value("max_value") - self.value("min_value") <= 4.0 * self._rounding(x, dtype)
