"""The l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics.simplex_threshold import onto_simplex, simplex_vjp


@dataclasses.dataclass(frozen=True, eq=False)
class L1Ball(Constraint):
    """Groups whose magnitudes sum to at most `max_value`: argmin_p ||p - x|| over the ball { p : sum |p_i| <= c }.

    The nearest point is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to c; weights below t become
    exactly 0. Convex, unique; inside the ball x stays. t is found without a sort, O(n) a pass; see
    `constraints.numerics.simplex_threshold`.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
    """

    solid: ClassVar[bool] = True
    permutation_invariant: ClassVar[bool] = True
    warm_start: ClassVar[int] = 1

    max_value: Any = hyperparameter(1.0, "Largest sum of magnitudes of a unit's incoming weights.", above=0.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound, magnitude, total = self.value("max_value"), tf.abs(x), numerics.l1(x)
        inside = (total <= bound * (1.0 + numerics.slack(x.shape[0]))) | ~tf.math.is_finite(total)
        shrunk = onto_simplex(magnitude, bound, ~inside)
        return tf.where(inside, x, tf.where(shrunk > 0.0, tf.sign(x) * shrunk, 0.0))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        p = self._project(x, dtype)
        stays = tf.reduce_all(tf.equal(p, x), axis=0)
        return tf.where(stays, upstream, simplex_vjp(upstream, tf.sign(p)))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.l1(tf.cast(w, tf.float64)) >= self.value("max_value") * (1.0 - 1e-6)
