"""The l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics.reductions import between_passes, column_totals, compiled, whole_or_parts
from ..numerics.simplex_threshold import onto_simplex, pulled_back
from ..numerics.simplex_threshold_large import Threshold, threshold

# Bounds, and multiples of them that support times threshold may be, for which the passes of `excess` lose nothing.
_USUAL_BOUND = 2.0**-60, 2.0**100
_USUAL_RATIO = 2.0**30

_sums = column_totals(lambda rows: (tf.abs(tf.cast(rows, tf.float64)),))


@dataclasses.dataclass(frozen=True, eq=False)
class L1Ball(Constraint):
    """Groups whose magnitudes sum to at most `max_value`: the ball { x : sum |x_i| <= c }.

    The nearest point of x is `sign(x) * max(|x| - t, 0)`, where t makes the magnitudes sum to c; weights below t become
    exactly 0. Convex, unique; inside the ball x stays. t is found without a sort, O(n) a pass; see
    `constraints.numerics.simplex_threshold`.

    All of this is done in float64. For more than a few float32 weights t is found by compiled passes, see
    `constraints.numerics.simplex_threshold_large`, unless c is extreme, or t times the support a billion times c.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero vector is left.

    References:
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
      Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient Projections onto the l1-Ball for Learning in High
      Dimensions", 2008.
      Condat, "Fast projection onto the simplex and the l1 ball", 2016.
    """

    solid: ClassVar[bool] = True
    exchangeable: ClassVar[bool] = True
    carried: ClassVar[int] = 1

    max_value: Any = hyperparameter(1.0, "Largest sum of magnitudes of a unit's incoming weights.", above=0.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound = self.value("max_value")
        magnitude = tf.abs(x)
        total = tf.reduce_sum(magnitude, axis=0)
        inside = (total <= bound * (1.0 + numerics.slack(x.shape[0]))) | ~tf.math.is_finite(total)
        shrunk = onto_simplex(magnitude, bound, ~inside)
        outside = tf.where(shrunk > 0.0, tf.sign(x) * shrunk, 0.0)
        return tf.where(inside, x, outside)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        p = self.project(x, dtype)
        stays = tf.reduce_all(tf.equal(p, x), axis=0)
        return tf.where(stays, upstream, pulled_back(upstream, tf.sign(p)))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return self.nearest_from(w, tf.zeros([self.carried, w.shape[1]]))[0]

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if w.dtype != tf.float32 or numerics.few(w):
            return super().nearest(w), carried
        cut, stays, usual, inside = _threshold(w, self.value("max_value"), carried[0])

        def moved() -> tf.Tensor:
            exactly = numerics.rarely(lambda: super(L1Ball, self).nearest(w))
            return tf.cond(usual, lambda: _shrunk(w, cut, stays), exactly)

        return tf.cond(inside, lambda: w, moved), cut.carried

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l1(x)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return numerics.l1(tf.cast(w, tf.float64)) >= self.value("max_value") * (1.0 - 1e-6)


@whole_or_parts
def _threshold(w: tf.Tensor, bound: tf.Tensor, start: tf.Tensor) -> tuple[Threshold, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Where columns are cut; bool [groups], which stay; bool scalars: whether a cut will do, and then all stay."""
    cut = threshold(w, tf.abs, bound, tf.zeros(w.shape[1:], tf.float64), start)
    close = between_passes(_close)(cut, bound, w.shape[0])
    # Most of a column's sum may lie below the threshold, so only the sum itself tells whether the column may stay.
    own = numerics.rarely(lambda: _sums(w)[0])
    sums = tf.cond(tf.reduce_any(close), own, lambda: tf.zeros(w.shape[1:], tf.float64))
    return cut, *between_passes(_judged)(cut, close, sums, bound, w.shape[0])


def _taken(cut: Threshold) -> tf.Tensor:
    """What the cut takes off the weights above it, at most the sum's excess; 0 or less inside the ball: [groups]."""
    return cut.total * cut.count


def _close(cut: Threshold, bound: tf.Tensor, size: int) -> tf.Tensor:
    return cut.finite & (_taken(cut) > 0.0) & (_taken(cut) <= bound * numerics.slack(size))


def _judged(
    cut: Threshold, close: tf.Tensor, sums: tf.Tensor, bound: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    taken = _taken(cut)
    stays = ~cut.finite | (taken <= 0.0) | (close & (sums <= bound * (1.0 + numerics.slack(size))))
    # Subnormals would count beside smaller bounds; beside larger sums, float64 has to know the largest weight.
    usual = (bound > _USUAL_BOUND[0]) & (bound < _USUAL_BOUND[1]) & cut.found
    usual &= tf.reduce_all(stays | (taken <= bound * _USUAL_RATIO))
    return stays, usual, usual & tf.reduce_all(stays)


@compiled
def _shrunk(w: tf.Tensor, cut: Threshold, stays: tf.Tensor) -> tf.Tensor:
    """What exceeds the threshold, with the weights' signs, but for the columns that stay: float32 [size, groups]."""
    # Rounded while it has no sign, which is one of the bits.
    magnitude = numerics.toward_zero(tf.maximum(cut.excess(tf.abs(w)), 0.0), w.dtype)
    return tf.where(stays, w, numerics.with_sign(magnitude, w))
