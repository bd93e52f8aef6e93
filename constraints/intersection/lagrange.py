"""Sets met with a ball or a sum: the nearest point is that of one set alone, at a place that one number decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from .. import numerics
from ..sets._affine import Translation
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
    """Where functions that never fall are zero, by steps of Newton's method kept between two bounds.

    The bounds are tried first: one beyond which there is no zero is the answer then.

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
        # A step may go back and forth between two pieces of the function, or be lost next to a large number; halving
        # ends that.
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
    """Takes a number off each column, in two rounds: next to weights that are large, it has not the digits that what
    is left of them needs.

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
class InBall:
    """The points of a convex set in the ball of radius c.

    The nearest point is P(s x), P the set's own projection, with the largest s in [0, 1] for which it is in the ball:
    minimizing ||p - x||^2 / 2 + m ||p||^2 / 2 over the set gives P(x / (1 + m)), m >= 0 is the multiplier of the ball,
    and ||P(x / (1 + m))|| never grows with m. Where P is affine between bends, ||P(s x)||^2 is a quadratic, and its
    zero less c^2 is the step of Newton's method here; it ends after a few. With c below ||P(0)|| nothing meets, and
    P(0) is returned.

    With J the derivative of P at s x, that of the whole is s [J - (J x)(J p)^T / (p^T J x)].

    Attributes:
      stage: the set.
      ball: the ball.

    References:
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017, chapter 29.
    """

    stage: Stage
    ball: MaxNorm

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.stage.project(self._factor(x, dtype)[0] * x, dtype)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        factor, outside = self._factor(x, dtype)
        y = factor * x
        p = self.stage.project(y, dtype)
        flowing, radial = (self.stage.pullback(y, v, dtype) for v in (upstream, p))
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
            p, forward = self.stage.project(y, dtype) / bound, self.stage.pullback(y, unit, dtype)
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
class WithSum:
    """The points of a bounded convex set whose sum is a total, or at most that.

    The nearest point is P(x - t), P the set's own projection, where t makes it sum to the total (or t = 0, where less
    is allowed): t is the multiplier of the sum, and sum P(x - t) never grows with t. Where P is affine between bends,
    each step of Newton's method is exact once t is between the right ones.

    With J the derivative of P at x - t, that of the whole is J - (J 1)(J 1)^T / (1^T J 1).

    Attributes:
      stage: the set.
      plane: the sum.
      reach: how large t minus a group's smallest or largest weight is at most, given the set.

    References:
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017, chapter 29.
    """

    stage: Stage
    plane: Translation
    reach: Callable[[tf.DType], tf.Tensor]

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.stage.project(self._shifted(x, dtype)[0], dtype)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        y, taken = self._shifted(x, dtype)
        flowing, level = (self.stage.pullback(y, v, dtype) for v in (upstream, tf.ones_like(x)))
        along = tf.math.divide_no_nan(tf.reduce_sum(flowing, axis=0), tf.reduce_sum(level, axis=0))
        # A plane binds where it was met already, too.
        binds = taken > 0.0 if isinstance(self.plane, Halfspace) else tf.ones_like(taken, tf.bool)
        return tf.where(binds, flowing - along * level, flowing)

    def _shifted(self, x: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """x - t, and t: [groups]."""
        total, reach = self.plane.boundary(), self.reach(dtype)

        def level(z: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
            def evaluate(t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                p = self.stage.project(z - t, dtype)
                slope = tf.reduce_sum(self.stage.pullback(z - t, tf.ones_like(z), dtype), axis=0)
                lack = total - tf.reduce_sum(p, axis=0)
                return lack, -lack / slope, numerics.slack(x.shape[0]) / 16.0 * numerics.l1(p)

            low, high = tf.reduce_min(z, axis=0) - reach, tf.reduce_max(z, axis=0) + reach
            if isinstance(self.plane, Halfspace):
                low = tf.maximum(low, -taken)
            return root(evaluate, tf.zeros_like(low), low, tf.maximum(low, high), tf.ones_like(low, tf.bool), halfway)

        return shifted(x, level)
