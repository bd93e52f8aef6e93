"""The l2 ball."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._radial import RadialSet


@dataclasses.dataclass(frozen=True, eq=False)
class MaxNorm(RadialSet):
    """Groups of l2 norm at most `max_value`: argmin_p ||p - x|| over the ball { p : ||p|| <= c }.

    The nearest point is `x * min(1, c / ||x||)`. Convex, unique; inside the ball x stays, the zero vector too. O(n).

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Srebro, Rennie and Jaakkola, "Maximum-Margin Matrix Factorization", 2005.
      Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: A Simple Way to Prevent Neural Networks
      from Overfitting", 2014.
    """

    solid: ClassVar[bool] = True

    max_value: Any = hyperparameter(2.0, "Largest norm of a unit's incoming weights.", above=0.0)

    def factor(self, norm: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
        bound = self.value("max_value")
        inside = norm <= bound * (1.0 + numerics.slack(size))
        return tf.where(inside | ~tf.math.is_finite(norm), tf.ones_like(norm), bound / norm)

    def certainly_feasible(self, norm: tf.Tensor, relative: float, absolute: float) -> tf.Tensor:
        # Squares that overflow make inf of a norm, which is not below any bound.
        return tf.reduce_max(norm) < tf.cast((self.value("max_value") - absolute) * (1.0 - relative), norm.dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        norm = numerics.l2(tf.cast(w, tf.float64), w.dtype)
        return norm >= self.value("max_value") * (1.0 - 1e-6)
