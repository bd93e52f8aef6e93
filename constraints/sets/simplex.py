"""The simplex."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics import simplex_threshold, simplex_threshold_large
from ..numerics.reductions import between_passes, column_totals, compiled, whole_or_parts

# Totals, and multiples of them that support times threshold may be, for which the passes of `excess` lose nothing.
_USUAL_TOTAL = 2.0**-60, 2.0**100
_USUAL_RATIO = 2.0**30


@dataclasses.dataclass(frozen=True, eq=False)
class Simplex(Constraint):
    """Groups without a negative weight that sum to `total`: the scaled simplex { x : x >= 0, sum x_i = s }.

    The nearest point of x is `max(x - t, 0)`, where t makes it sum to s: weights below t become exactly 0, and a group
    of equal weights becomes s / n in each of its n weights. Convex, unique. A group without a negative weight whose sum
    is s to within the rounding of its type is on the simplex and stays. t is found without a sort, O(n) a pass; see
    `numerics.simplex_threshold` and, for more than a few float32 weights, `numerics.simplex_threshold_large`.

    Attributes:
      total: s above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    exchangeable: ClassVar[bool] = True
    carried: ClassVar[int] = 1

    total: Any = hyperparameter(1.0, "Sum of a unit's incoming weights, none of them negative.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        stays = self.on_simplex(x, dtype) | ~tf.math.is_finite(tf.reduce_sum(x, axis=0))
        return tf.where(stays, x, simplex_threshold.onto_simplex(x, self.value("total"), ~stays))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        # A group that rounding leaves where it is lies on the simplex all the same: its derivative is that of the face.
        return simplex_threshold.pulled_back(upstream, tf.sign(self.project(x, dtype)))

    def on_simplex(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Whether each column is on it, to within the type's rounding: float64 [size, groups] -> bool [groups]."""
        below_zero = tf.cast(tf.reduce_min(x, axis=0) < 0.0, x.dtype)
        return _on_simplex(tf.reduce_sum(x, axis=0), below_zero, x.shape[0], self.value("total"), dtype)

    def rounded(self, p: tf.Tensor, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.nearest(p, dtype)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return self.nearest_from(w, tf.zeros([self.carried, w.shape[1]]))[0]

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if w.dtype != tf.float32 or numerics.few(w):
            return self.by_formula(w), carried
        cut, stays, usual = _threshold(w, self.value("total"), carried[0])
        exactly = numerics.rarely(lambda: self.by_formula(w))
        return tf.cond(usual, lambda: _cut_off(w, cut, stays), exactly), cut.carried

    def by_formula(self, w: tf.Tensor) -> tf.Tensor:
        """`nearest` for any type and any numbers, in float64."""
        p = super().nearest(w)
        return numerics.without_subnormals(p, numerics.negative(p) & numerics.finite_groups(p))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.ones([w.shape[1]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return 2.0 * numerics.epsilon(dtype) + super().tolerance(dtype)


def _on_simplex(sum_: tf.Tensor, below_zero: tf.Tensor, size: int, total: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return (tf.abs(sum_ - total) <= simplex_threshold.rounding(size, total, dtype)) & (below_zero <= 0.0)


@whole_or_parts
def _threshold(
    w: tf.Tensor, total: tf.Tensor, start: tf.Tensor
) -> tuple[simplex_threshold_large.Threshold, tf.Tensor, tf.Tensor]:
    """Where columns are cut; bool [groups], which stay; bool scalar, whether a cut will do."""
    sums, negative = column_totals(lambda rows: (tf.cast(rows, tf.float64), rows < 0.0))(w)

    def lowest(sums: tf.Tensor, negative: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        finite = tf.math.is_finite(sums)
        # All weights together lie above the mean's excess; a little less, as rounding may have raised it.
        mean = tf.where(finite, sums - total, 0.0) / w.shape[0]
        stays = ~finite | _on_simplex(sums, negative, w.shape[0], total, w.dtype)
        return mean - tf.abs(mean) * 2.0**-40, stays

    def judged(cut: simplex_threshold_large.Threshold, stays: tf.Tensor) -> tf.Tensor:
        # Next to lesser totals, subnormals could count; next to such weights, float64 would need to know the largest.
        usual = (total > _USUAL_TOTAL[0]) & (total < _USUAL_TOTAL[1]) & cut.found
        return usual & tf.reduce_all(stays | (tf.abs(cut.total) * cut.count <= total * _USUAL_RATIO))

    least, stays = between_passes(lowest)(sums, negative)
    cut = simplex_threshold_large.threshold(w, lambda rows: rows, total, least, start)
    # -inf lies below every threshold, so only the sums know of it.
    cut = cut._replace(finite=tf.math.is_finite(sums))
    return cut, stays, between_passes(judged)(cut, stays)


@compiled
def _cut_off(w: tf.Tensor, cut: simplex_threshold_large.Threshold, stays: tf.Tensor) -> tf.Tensor:
    p = tf.where(stays, w, tf.cast(tf.nn.relu(cut.excess(w)), w.dtype))
    return numerics.without_subnormals(p, numerics.negative(p) & cut.finite)
