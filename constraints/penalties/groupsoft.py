"""Group soft thresholding: the proximal map of the l2 norm of a group."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._base import Proximal


@dataclasses.dataclass(frozen=True, eq=False)
class GroupSoft(Proximal):
    """A penalty on the norm of each group: h(p) = penalty * ||p||, as in the group lasso.

    A step of length r maps x to `x * max(1 - t / ||x||, 0)`, t = r * penalty: x less its projection on the ball of
    radius t. Convex, so the minimiser is unique; a group of norm up to t becomes exactly 0 as a whole, a group of zeros
    stays. It is the plain norm: to penalise large groups more, give them a rule and a penalty of their own. O(n).

    Attributes:
      penalty: weight of the norm, at least 0; 0 leaves every weight as it is.

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", 2006.
      Scardapane, Comminiello, Hussain and Uncini, "Group sparse regularization for deep neural networks", 2017.
    """

    penalty: Any = hyperparameter(0.01, "Penalty on the norm of a unit's incoming weights.", minimum=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor = self.factor(x, dtype)
        return tf.where(factor > 0.0, x * factor, tf.zeros_like(x))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """With u = x / ||x||, a group that is not zeroed has the derivative (1 - t / ||x||) I + t / ||x|| u u^T."""
        factor = self.factor(x, dtype)
        unit = tf.math.divide_no_nan(x, numerics.l2(x, dtype))
        along = unit * tf.reduce_sum(unit * upstream, axis=0)
        return tf.where(factor > 0.0, factor * upstream + (1.0 - factor) * along, tf.zeros_like(x))

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return self.value("penalty") * numerics.l2(x, tf.float64)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return ~tf.reduce_any(numerics.nonzero(w), axis=0) & (self.scaled("penalty") > 0.0)

    def factor(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """What each column is multiplied by, float64 [groups] in [0, 1]: 1 where it is not finite."""
        norm, threshold = numerics.l2(x, dtype), self.scaled("penalty")
        left = 1.0 - tf.math.divide_no_nan(threshold, norm)
        left = tf.where((norm <= threshold) & (threshold > 0.0), tf.zeros_like(left), left)
        return tf.where(tf.math.is_finite(norm), left, tf.ones_like(left))
