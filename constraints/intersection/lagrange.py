"""Intersections with a ball or a sum by a Lagrange multiplier, found by Newton's method in a bracket."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from .. import numerics
from ..sets._affine import SumConstraint
from ..sets.halfspace import Halfspace
from ..sets.maxnorm import MaxNorm
from .per_unit import Stage

# Passes that halving float64 brackets and stepping between breakpoints may take; a handful is usual.
_MAX_PASSES = 200


def root(
    evaluate: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor, tf.Tensor]],
    start: tf.Tensor,
    low: tf.Tensor,
    high: tf.Tensor,
    wanted: tf.Tensor,
    middle: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Roots of non-decreasing functions by Newton's method in a bracket.

    Evaluates both ends of the bracket first. If the root lies outside, the nearer end is returned.

    Args:
      evaluate: points -> the functions' values, the steps that Newton's method takes (NaN or inf: none), and how close
        to zero is as good as zero; each float64 [groups].
      start: float64 [groups], where to go on after that.
      low: float64 [groups], at most the zeros.
      high: float64 [groups], at least the zeros.
      wanted: bool [groups], the functions that matter.
      middle: halves a bracket.

    Returns:
      float64 [groups].
    """

    def improve(at: tf.Tensor, low: tf.Tensor, high: tf.Tensor, moving: tf.Tensor, count: tf.Tensor) -> tuple:
        value, step, enough = evaluate(at)
        done = tf.abs(value) <= enough
        done |= tf.where(value > 0.0, tf.equal(count, 0), tf.equal(count, 1))
        low, high = tf.where(value <= 0.0, at, low), tf.where(value >= 0.0, at, high)
        newton, between = at + step, middle(low, high)
        # Newton's method may cycle between two pieces of the function, or stall beside a large number; halve then.
        inside = (newton >= low) & (newton <= high) & tf.not_equal(newton, at) & (count % 4 < 3)
        done |= ~inside & (tf.equal(between, low) | tf.equal(between, high)) & (count > 1)
        better = tf.where(inside, newton, between)
        better = tf.where(
            tf.equal(count, 0), high, tf.where(tf.equal(count, 1), tf.clip_by_value(start, low, high), better)
        )
        moving &= ~done
        return tf.where(moving, better, at), low, high, moving, count + 1

    return tf.while_loop(
        lambda *state: tf.reduce_any(state[3]) & (state[4] < _MAX_PASSES),
        improve,
        (low, low, high, wanted, tf.constant(0)),
    )[0]


def shifted(x: tf.Tensor, level: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Subtracts a number from each column, in two rounds, because one number beside large weights lacks digits.

    Args:
      x: float64 [size, groups].
      level: columns, and what was taken off them so far -> what to take off, float64 [groups].

    Returns:
      What is left, and what was taken off.
    """

    def round_(z: tf.Tensor, taken: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        t = level(z, taken)
        return z - t, taken + t, count + 1

    start = x, tf.zeros([x.shape[1]], x.dtype), tf.constant(0)
    return tf.while_loop(lambda *state: state[2] < 2, round_, start)[:2]


def halfway(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """The arithmetic mean."""
    return low + 0.5 * (high - low)


def _by_magnitude(low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """The geometric mean, or a leap towards zero: brackets from 0 to any scale."""
    return tf.where(low > 0.0, tf.sqrt(low) * tf.sqrt(high), high * 2.0**-10)


@dataclasses.dataclass(frozen=True)
class BallMultiplier:
    """The points of a convex set in the ball of radius c.

    The nearest point is P(s x), P the set's own projection, with the largest s in [0, 1] for which it is in the ball;
    s = 1 / (1 + m), m the multiplier of the ball. Where P is affine between bends, ||P(s x)||^2 is a quadratic, whose
    root is the Newton step. If the sets do not intersect, P(0) is returned. With J the derivative of P at s x, that of
    the whole is s [J - (J x)(J p)^T / (p^T J x)]. Proof: docs/math/intersections.md.

    Attributes:
      stage: the set.
      ball: the ball.

    References:
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017, chapter 29.
    """

    stage: Stage
    ball: MaxNorm

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.stage._project(self._factor(x, dtype)[0] * x, dtype)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor, outside = self._factor(x, dtype)
        y = factor * x
        p = self.stage._project(y, dtype)
        flowing, radial = (self.stage._vjp(y, v, dtype) for v in (upstream, p))
        along = tf.math.divide_no_nan(tf.reduce_sum(x * flowing, axis=0), tf.reduce_sum(x * radial, axis=0))
        return tf.where(outside, factor * (flowing - along * radial), flowing)

    def _factor(self, x: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """s, and whether it is below 1: [groups]."""
        bound = tf.maximum(self.ball.value("max_value"), 2.0**-1000)
        norm = numerics.l2(x, tf.float64)
        unit = tf.math.divide_no_nan(x, norm)
        room = numerics.slack(x.shape[0])

        # In units of the bound, so that no square overflows.
        def evaluate(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            y = (length * bound) * unit
            p, forward = self.stage._project(y, dtype) / bound, self.stage._vjp(y, unit, dtype)
            speed, along = tf.reduce_sum(tf.square(forward), axis=0), tf.reduce_sum(p * forward, axis=0)
            reached = numerics.l2(p, tf.float64)
            excess = (reached - 1.0) * (reached + 1.0)
            step = -excess / (along + tf.sqrt(tf.square(along) - speed * excess))
            return reached - 1.0, step, tf.fill(norm.shape, tf.constant(room / 16.0, tf.float64))

        furthest, nothing = norm / bound, tf.zeros_like(norm)
        every = tf.ones_like(norm, tf.bool)
        found = root(evaluate, tf.minimum(furthest, 1.0), nothing, furthest, every, _by_magnitude)
        outside = found < furthest
        return tf.where(outside, tf.math.divide_no_nan(found * bound, norm), 1.0), outside


@dataclasses.dataclass(frozen=True)
class SumMultiplier:
    """The points of a bounded convex set whose sum is a total, or at most that.

    The nearest point is P(x - t), P the set's own projection, where the multiplier t makes it sum to the total (or
    t = 0, where less is allowed). With J the derivative of P at x - t, that of the whole is
    J - (J 1)(J 1)^T / (1^T J 1). Proof: docs/math/intersections.md.

    Attributes:
      stage: the set.
      plane: the sum.
      reach: how large t minus a group's smallest or largest weight is at most, given the set.

    References:
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017, chapter 29.
    """

    stage: Stage
    plane: SumConstraint
    reach: Callable[[tf.DType], tf.Tensor]

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.stage._project(self._shifted(x, dtype)[0], dtype)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        y, taken = self._shifted(x, dtype)
        flowing, level = (self.stage._vjp(y, v, dtype) for v in (upstream, tf.ones_like(x)))
        along = tf.math.divide_no_nan(tf.reduce_sum(flowing, axis=0), tf.reduce_sum(level, axis=0))
        # A plane binds where it was met already, too.
        binds = taken > 0.0 if isinstance(self.plane, Halfspace) else tf.ones_like(taken, tf.bool)
        return tf.where(binds, flowing - along * level, flowing)

    def _shifted(self, x: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """x - t, and t: [groups]."""
        total, reach = self.plane.boundary(), self.reach(dtype)

        def level(z: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
            def evaluate(t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                p = self.stage._project(z - t, dtype)
                slope = tf.reduce_sum(self.stage._vjp(z - t, tf.ones_like(z), dtype), axis=0)
                lack = total - tf.reduce_sum(p, axis=0)
                return lack, -lack / slope, numerics.slack(x.shape[0]) / 16.0 * numerics.l1(p)

            low, high = tf.reduce_min(z, axis=0) - reach, tf.reduce_max(z, axis=0) + reach
            if isinstance(self.plane, Halfspace):
                low = tf.maximum(low, -taken)
            return root(evaluate, tf.zeros_like(low), low, tf.maximum(low, high), tf.ones_like(low, tf.bool), halfway)

        return shifted(x, level)
