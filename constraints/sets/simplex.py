"""The simplex."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics.simplex_threshold import near_simplex, onto_simplex, simplex_vjp


@dataclasses.dataclass(frozen=True, eq=False)
class Simplex(Constraint):
    """Non-negative groups that sum to `total`: argmin_p ||p - x|| over { p : p >= 0, sum p_i = s }.

    The nearest point is `max(x - t, 0)`, where t makes it sum to s; weights below t become exactly 0, and equal weights
    become s / n each. Convex, unique. A non-negative group whose sum is s to within the rounding of its type stays. t
    is found without a sort, O(n) a pass; see `constraints.numerics.simplex_threshold`.

    Attributes:
      total: s above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    permutation_invariant: ClassVar[bool] = True
    thin: ClassVar[bool] = True
    warm_start: ClassVar[int] = 1

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, none of them negative.", above=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        stays = near_simplex(x, self.value("total"), dtype) | ~tf.math.is_finite(tf.reduce_sum(x, axis=0))
        return tf.where(stays, x, onto_simplex(x, self.value("total"), ~stays))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        # A group that rounding leaves where it is lies on the simplex all the same: its derivative is that of the face.
        return simplex_vjp(upstream, tf.sign(self._project(x, dtype)))

    def _round(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.without_subnormals(super()._project_reference(w))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)
