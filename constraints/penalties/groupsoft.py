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
    stays. It is the plain norm: to penalise large groups more, give them a rule and a penalty of their own. O(n). For
    more than a few float32 weights, zeros come back as 0.0, whatever their sign.

    Attributes:
      penalty: weight of the norm, at least 0; 0 leaves every weight as it is.

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", 2006.
      Scardapane, Comminiello, Hussain and Uncini, "Group sparse regularization for deep neural networks", 2017.
    """

    penalty: Any = hyperparameter(0.01, "Penalty on the norm of a unit's incoming weights.", minimum=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor = self._factor(x, dtype)
        return tf.where(factor > 0.0, x * factor, tf.zeros_like(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w) or numerics.in_xla():
            return super().nearest(w)
        x = tf.cast(w, tf.float64)
        factor = self._factor(x, w.dtype)

        def plainly() -> tf.Tensor:
            # -0.0 becomes 0.0 by adding zeros that no optimizer knows to be zeros.
            return tf.nn.bias_add(tf.cast(x * factor, w.dtype), tf.nn.relu(-1.0 - tf.cast(factor, w.dtype)))

        usual = (self.scaled("penalty") > 0.0) & tf.math.is_finite(tf.reduce_sum(numerics.l2(x, w.dtype)))
        return tf.cond(usual, plainly, numerics.rarely(lambda: super(GroupSoft, self).nearest(w)))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """With u = x / ||x||, a group that is not zeroed has the derivative (1 - t / ||x||) I + t / ||x|| u u^T."""
        factor = self._factor(x, dtype)
        unit = tf.math.divide_no_nan(x, numerics.l2(x, dtype))
        along = unit * tf.reduce_sum(unit * upstream, axis=0)
        return tf.where(factor > 0.0, factor * upstream + (1.0 - factor) * along, tf.zeros_like(x))

    def penalty_of(self, x: tf.Tensor) -> tf.Tensor:
        return self.value("penalty") * numerics.l2(x, tf.float64)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return ~tf.reduce_any(numerics.nonzero(w), axis=0) & (self.scaled("penalty") > 0.0)

    def _factor(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """What each column is multiplied by, float64 [groups] in [0, 1]: 1 where it is not finite."""
        norm, threshold = numerics.l2(x, dtype), self.scaled("penalty")
        left = 1.0 - tf.math.divide_no_nan(threshold, norm)
        left = tf.where((norm <= threshold) & (threshold > 0.0), tf.zeros_like(left), left)
        return tf.where(tf.math.is_finite(norm), left, tf.ones_like(left))
