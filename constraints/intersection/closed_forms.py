"""Intersections whose nearest point has a formula."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..sets._affine import SumConstraint
from ..sets._radial import RadialSet
from ..sets.box import Box
from ..sets.halfspace import Halfspace
from ..sets.l1ball import L1Ball
from ..sets.nonneg import NonNeg
from ..sets.simplex import Simplex
from .lagrange import halfway, root, shifted


@dataclasses.dataclass(frozen=True)
class ConeAndNorm:
    """The points of a cone K whose norm is one of a ball, a sphere or a shell around 0.

    The nearest point is the projection onto the cone, scaled to the nearest allowed norm; K need not be convex. Where
    the projection onto K is 0 but 0 is not allowed, a direction is chosen: without negative weights that of the largest
    weight alone (or of all that are 0, equally), else the projection of the group of ones, or of the first weight.
    Proof: docs/math/intersections.md.

    Attributes:
      cones: the sets that make K, in an order in which their projections one after the other are that onto K.
      norms: balls, spheres and shells.

    References:
      Bauschke, Bui and Wang, "Projecting onto the intersection of a cone and a sphere", 2018.
    """

    cones: tuple[Any, ...]
    norms: tuple[RadialSet, ...]

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self._scaled(self.before(x, dtype), dtype)

    def before(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The point of the cone that is then scaled."""
        return self._directed(x, self._onto_cone(x, dtype), dtype)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        points = [x]
        for member in self.cones:
            points.append(member._project(points[-1], dtype))
        still = tf.equal(numerics.l2(points[-1], dtype), 0.0) & (self._least(x.shape[0]) > 0.0)
        points[-1] = self._directed(x, points[-1], dtype)
        for member in self.norms:
            points.append(member._project(points[-1], dtype))
        flowing = upstream
        for member, point in zip(reversed((*self.cones, *self.norms)), reversed(points[:-1]), strict=True):
            flowing = member._vjp(point, flowing, dtype)
        return tf.where(still, tf.zeros_like(flowing), flowing)

    def _scaled(self, point: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        for member in self.norms:
            point = member._project(point, dtype)
        return point

    def _onto_cone(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        for member in self.cones:
            x = member._project(x, dtype)
        return x

    def _least(self, size: int) -> tf.Tensor:
        return tf.reduce_max(tf.stack([member.origin(size) for member in self.norms]))

    def _directed(self, x: tf.Tensor, point: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        if all(member.convex for member in self.norms) or not x.shape[0]:
            return point
        first = tf.one_hot(tf.zeros([x.shape[1]], tf.int64), x.shape[0], axis=0, dtype=x.dtype)
        if any(isinstance(member, NonNeg) for member in self.cones):
            alone = tf.one_hot(tf.argmax(x, axis=0), x.shape[0], axis=0, dtype=x.dtype)
            zeros = tf.cast(tf.equal(x, 0.0), x.dtype)
            tried = [tf.where(tf.equal(tf.reduce_max(x, axis=0), 0.0), zeros, alone), first]
        else:
            tried = [tf.ones_like(x), first]
        least = self._least(x.shape[0])
        for direction in tried:
            lost = tf.equal(numerics.l2(point, dtype), 0.0) & (least > 0.0)
            within = self._onto_cone(direction, dtype)
            point = tf.where(lost, tf.math.divide_no_nan(within, numerics.l2(within, dtype)) * least, point)
        return point


@dataclasses.dataclass(frozen=True)
class BoxAndSum:
    """Weights from a to b that sum to a total, or to at most that.

    The nearest point is `clip(x - t, a, b)`, where t is the multiplier of the sum, found by Newton's method. The
    derivative subtracts the mean over weights strictly between a and b, and is 0 for the others.

    Attributes:
      intervals: sets of an interval for each weight; the simplex counts as one.
      plane: the set of sums; the simplex is one, too.

    References:
      Held, Wolfe and Crowder, "Validation of subgradient optimization", 1974.
      Michelot, "A finite algorithm for finding the projection of a point onto the canonical simplex of R^n", 1986.
    """

    intervals: tuple[Constraint, ...]
    plane: SumConstraint | Simplex

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self._solved(x, dtype)[0]

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        p, moved, low, high = self._solved(x, dtype)
        binds = moved if isinstance(self.plane, Halfspace) else tf.ones_like(moved)
        free = tf.cast((p > low) & (p < high), x.dtype)
        return free * (upstream - tf.where(binds, mean_over(free, upstream), 0.0))

    def _solved(self, x: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        low, high = limits(self.intervals, dtype)
        total = self.plane.value("total") if isinstance(self.plane, Simplex) else self.plane.boundary()
        p, moved = clipped_to_sum(x, low, high, total, isinstance(self.plane, Halfspace))
        return p, moved, low, high


@dataclasses.dataclass(frozen=True)
class BoxAndL1Ball:
    """Weights from a to b whose magnitudes sum to at most c.

    The nearest point is `clip(sign(x) max(|x| - t, 0), a, b)`. Up to signs it is a point of `BoxAndSum`, with
    magnitudes from 0 to b or to -a; if 0 is not between a and b, all weights have one sign.

    Attributes:
      intervals: sets of an interval for each weight.
      ball: the ball.
    """

    intervals: tuple[Constraint, ...]
    ball: L1Ball

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self._solved(x, dtype)[0]

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        _, sign, moved, free = self._solved(x, dtype)
        flowing = sign * upstream
        return sign * free * (flowing - tf.where(moved, mean_over(free, flowing), 0.0))

    def _solved(self, x: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        low, high = limits(self.intervals, dtype)
        one = tf.ones_like(x)
        # Weights on the side where there is no room are at 0, which no sign changes.
        sign = tf.where(low > 0.0, one, tf.where(high < 0.0, -one, tf.where(x < 0.0, -one, one)))
        most = tf.where(sign > 0.0, high, -low)
        least = tf.maximum(tf.maximum(low, -high), 0.0) * one
        p, moved = clipped_to_sum(sign * x, least, most, self.ball.value("max_value"), True)
        free = tf.cast((p > least) & (p < most), x.dtype)
        return tf.where(p > 0.0, sign * p, tf.zeros_like(p)), sign, moved, free


def limits(intervals: tuple[Constraint, ...], dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """The smallest and the largest weight that all of several sets allow: float64 scalars, maybe inf."""
    low, high = tf.constant(-float("inf"), tf.float64), tf.constant(float("inf"), tf.float64)
    for member in intervals:
        if isinstance(member, Box):
            least, most = member.representable(dtype)
            low, high = tf.maximum(low, tf.cast(least, low.dtype)), tf.minimum(high, tf.cast(most, low.dtype))
        elif isinstance(member, (NonNeg, Simplex)):
            low = tf.maximum(low, 0.0)
    return low, high


def clipped_to_sum(
    x: tf.Tensor, low: tf.Tensor, high: tf.Tensor, total: tf.Tensor, at_most: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """`clip(x - t, low, high)`, where t makes it sum to the total.

    Args:
      x: float64 [size, groups].
      low: float64, smallest weights, broadcasting over x.
      high: float64, largest weights; the sum can only be reached if it lies between theirs.
      total: float64 scalar.
      at_most: whether a smaller sum will do.

    Returns:
      float64 [size, groups], and bool [groups]: whether the sum had to be changed.
    """
    clipped = tf.clip_by_value(x, low, high)
    excess = tf.reduce_sum(clipped, axis=0) - total
    room = numerics.slack(x.shape[0]) * numerics.l1(clipped)
    moved = excess > room if at_most else tf.abs(excess) > room

    def solved() -> tf.Tensor:
        z, _ = shifted(x, lambda z, _: _level(z, low, high, total, moved))
        return tf.where(moved, tf.clip_by_value(z, low, high), clipped)

    return tf.cond(tf.reduce_any(moved), solved, lambda: clipped), moved


def mean_over(free: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Mean of each column's values where `free` is 1, not 0; 0 where it nowhere is."""
    return tf.reduce_sum(free * values, axis=0) / tf.maximum(tf.reduce_sum(free, axis=0), 1.0)


def _level(x: tf.Tensor, low: tf.Tensor, high: tf.Tensor, total: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """t such that clip(x - t, low, high) sums to the total: float64 [groups]."""
    infinite = tf.constant(float("inf"), tf.float64)

    def evaluate(t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        y = x - t
        p = tf.clip_by_value(y, low, high)
        lack = total - tf.reduce_sum(p, axis=0)
        # The function bends where a weight meets a bound. The piece ahead gives the slope.
        rising = lack < 0.0
        free = tf.where(rising, (y > low) & (y <= high), (y >= low) & (y < high))
        count = tf.reduce_sum(tf.cast(free, tf.float64), axis=0)
        # Where it is level, to the next bend.
        above = tf.reduce_min(tf.where(y > high, y - high, infinite), axis=0)
        below = tf.reduce_min(tf.where(y < low, low - y, infinite), axis=0)
        leap = tf.where(rising, above, -below)
        step = tf.where(count > 0.0, -lack / tf.maximum(count, 1.0), leap)
        return lack, step, numerics.slack(x.shape[0]) / 16.0 * (numerics.l1(p) + tf.abs(total))

    # At the mean's excess an unbounded sum is the total; with bounds, all weights are at one beyond these.
    mean = (tf.reduce_sum(x, axis=0) - total) / max(x.shape[0], 1)
    slack = 1e-9 * (tf.abs(mean) + tf.reduce_max(tf.abs(x), axis=0))
    all_high, all_low = tf.reduce_min(x - high, axis=0), tf.reduce_max(x - low, axis=0)
    first = tf.where(tf.math.is_finite(all_high), all_high, mean - slack)
    last = tf.where(tf.math.is_finite(all_low), all_low, mean + slack)
    return root(evaluate, tf.zeros_like(mean), first, tf.maximum(first, last), wanted, halfway)
