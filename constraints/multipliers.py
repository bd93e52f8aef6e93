"""Sets met with a ball or a sum: the nearest point is that of one set alone, at a place that one number decides."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from constraints import numerics
from constraints.halfspace import Halfspace
from constraints.layouts import Stage
from constraints.maxnorm import MaxNorm
from constraints.translation import Translation

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

    Args:
      evaluate: points -> the functions' values, the steps that Newton's method takes (NaN or inf: none), and how close
        to zero is as good as zero; each float64 [groups].
      start: float64 [groups].
      low: float64 [groups], at most the zeros.
      high: float64 [groups], at least the zeros.
      wanted: bool [groups], the functions that matter.
      middle: halves a bracket.

    Returns:
      float64 [groups].
    """

    def improve(at: tf.Tensor, low: tf.Tensor, high: tf.Tensor, moving: tf.Tensor, count: tf.Tensor) -> tuple:
        value, step, enough = evaluate(at)
        low, high = tf.where(value <= 0.0, at, low), tf.where(value >= 0.0, at, high)
        newton = at + step
        # A step may go back and forth between two pieces of the function; halving now and then ends that.
        inside = (newton >= low) & (newton <= high) & (count % 4 < 3)
        better = tf.where(inside, newton, middle(low, high))
        moving &= (tf.abs(value) > enough) & tf.not_equal(better, at) & (low < high)
        return tf.where(moving, better, at), low, high, moving, count + 1

    start = tf.clip_by_value(start, low, high)
    return tf.while_loop(
        lambda *state: tf.reduce_any(state[3]) & (state[4] < _MAX_PASSES),
        improve,
        (start, low, high, wanted, tf.constant(0)),
    )[0]


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
        p = self.stage.project(x, dtype)
        outside = self._outside(p)
        return tf.cond(
            tf.reduce_any(outside),
            lambda: tf.where(outside, self.stage.project(self._factor(x, outside, dtype) * x, dtype), p),
            lambda: p,
        )

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        outside = self._outside(self.stage.project(x, dtype))
        factor = tf.where(outside, self._factor(x, outside, dtype), 1.0)
        p = self.stage.project(factor * x, dtype)
        flowing, radial = (self.stage.pullback(factor * x, v, dtype) for v in (upstream, p))
        along = tf.math.divide_no_nan(tf.reduce_sum(x * flowing, axis=0), tf.reduce_sum(x * radial, axis=0))
        return tf.where(outside, factor * (flowing - along * radial), flowing)

    def _outside(self, p: tf.Tensor) -> tf.Tensor:
        norm = numerics.l2(p, tf.float64)
        return norm > self.ball.value("max_value") * (1.0 + numerics.slack(p.shape[0]))

    def _factor(self, x: tf.Tensor, outside: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bound = tf.maximum(self.ball.value("max_value"), 2.0**-1000)
        norm = numerics.l2(x, tf.float64)
        unit = tf.math.divide_no_nan(x, norm)

        # In units of the bound, so that no square overflows.
        def evaluate(length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            y = (length * bound) * unit
            p, forward = self.stage.project(y, dtype) / bound, self.stage.pullback(y, unit, dtype)
            speed, along = tf.reduce_sum(tf.square(forward), axis=0), tf.reduce_sum(p * forward, axis=0)
            reached = numerics.l2(p, tf.float64)
            excess = (reached - 1.0) * (reached + 1.0)
            step = -excess / (along + tf.sqrt(tf.square(along) - speed * excess))
            return reached - 1.0, step, tf.fill(norm.shape, tf.constant(2.0**-51, tf.float64))

        furthest = norm / bound
        found = root(
            evaluate, tf.minimum(furthest, 1.0), tf.zeros_like(norm), furthest, outside, _by_magnitude
        )
        return tf.math.divide_no_nan(found * bound, norm)


@dataclasses.dataclass(frozen=True)
class WithSum:
    """The points of a bounded convex set whose sum is a total, or at most that.

    The nearest point is P(x - t), P the set's own projection, where t makes it sum to the total (or t = 0, where less is
    allowed): t is the multiplier of the sum, and sum P(x - t) never grows with t. Where P is affine between bends, each
    step of Newton's method is exact once t is between the right ones.

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
        p = self.stage.project(x, dtype)
        moved = self._moved(p, dtype)
        return tf.cond(
            tf.reduce_any(moved),
            lambda: tf.where(moved, self.stage.project(self._shifted(x, moved, dtype), dtype), p),
            lambda: p,
        )

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        moved = self._moved(self.stage.project(x, dtype), dtype)
        y = tf.where(moved, self._shifted(x, moved, dtype), x)
        flowing, level = (self.stage.pullback(y, v, dtype) for v in (upstream, tf.ones_like(x)))
        along = tf.math.divide_no_nan(tf.reduce_sum(flowing, axis=0), tf.reduce_sum(level, axis=0))
        # A plane binds where it was met already, too.
        binds = moved if isinstance(self.plane, Halfspace) else tf.ones_like(moved)
        return tf.where(binds, flowing - along * level, flowing)

    def _moved(self, p: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        excess = tf.reduce_sum(p, axis=0) - self.plane.boundary()
        room = numerics.slack(p.shape[0]) * numerics.l1(p)
        return excess > room if isinstance(self.plane, Halfspace) else tf.abs(excess) > room

    def _shifted(self, x: tf.Tensor, moved: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total, reach = self.plane.boundary(), self.reach(dtype)

        def evaluate_on(z: tf.Tensor) -> Callable:
            def evaluate(t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
                p = self.stage.project(z - t, dtype)
                slope = tf.reduce_sum(self.stage.pullback(z - t, tf.ones_like(z), dtype), axis=0)
                lack = total - tf.reduce_sum(p, axis=0)
                return lack, -lack / slope, 2.0**-52 * numerics.l1(p)

            return evaluate

        # Twice: next to weights that are large, t has not the digits that what is left of them needs.
        for _ in range(2):
            low, high = tf.reduce_min(x, axis=0) - reach, tf.reduce_max(x, axis=0) + reach
            start = tf.zeros_like(low)
            x -= root(evaluate_on(x), start, low, high, moved, halfway)
        return x

