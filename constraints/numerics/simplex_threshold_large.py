"""The threshold over which the excess of each column of a large tensor sums to a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from .reductions import between_passes, column_totals, some_rows

# No input that is met takes more than eight.
_MAX_PASSES = 60
# Standard deviations of a sum over a sample, and so much more at least is first looked for: what comes next works best
# from below.
_DOUBT = 4.0


class Threshold(NamedTuple):
    """Where the columns of a tensor are cut: at `high + low`, which float64 alone would round.

    Attributes:
      high: float32 [groups], the largest number of the type that is not above the threshold.
      low: float64 [groups], what it lacks; below 0 where even the whole column is less than the bound.
      count: float64 [groups], entries above it.
      finite: bool [groups], whether all of a column's entries are; the others' thresholds mean nothing.
      found: bool scalar, whether all of them were found.
    """

    high: tf.Tensor
    low: tf.Tensor
    count: tf.Tensor
    finite: tf.Tensor
    found: tf.Tensor

    @property
    def total(self) -> tf.Tensor:
        """The threshold in float64."""
        return tf.cast(self.high, tf.float64) + self.low

    @property
    def carried(self) -> tf.Tensor:
        """Where to begin the next time: float32 [1, groups]."""
        return tf.where(self.finite, self.high, 0.0)[tf.newaxis]

    def excess(self, x: tf.Tensor) -> tf.Tensor:
        """What exceeds it, where anything does: float32 [size, groups] -> float64, which may be below 0 elsewhere."""
        return (tf.cast(x, tf.float64) - tf.cast(self.high, tf.float64)) - self.low


def threshold(
    w: tf.Tensor, value: Callable[[tf.Tensor], tf.Tensor], bound: tf.Tensor, lowest: tf.Tensor, start: tf.Tensor
) -> Threshold:
    """Finds t with sum(max(x - t, 0)) = bound for each column, for a function made by `passes.whole_or_parts`.

    Newton's method: the sum is convex and decreasing in t, so a step from anywhere ends at or below the solution, and
    from there on t only grows. Each step starts at a float32 number; once the step leads to no further one, no entry
    lies between, the support is the true one and t exact. The first start is the solution for a sample of the rows, so
    that two to four passes are enough; from the last threshold it is mostly three.

    Args:
      w: float32 [size, groups].
      value: maps some of it to x, of the same shape and type.
      bound: float64 scalar, above 0.
      lowest: float64 [groups], not above the solution.
      start: float32 [groups], where to begin; 0 for columns of which nothing is known.

    Returns:
      The thresholds, no lower than `lowest`.
    """
    floor = _not_above(lowest)

    @column_totals
    def over(rows: tf.Tensor, t: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = value(rows)
        # Of what is not above t, so that NaN is in the sum.
        below = rows <= t
        excess = tf.cast(rows, tf.float64) - tf.cast(t, tf.float64)
        return tf.where(below, tf.zeros_like(excess), excess), ~below

    def to_go(total: tf.Tensor, count: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
        return (total - bound) / tf.maximum(count, 1.0)

    def moved(t: tf.Tensor, by: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return tf.where(count > 0.0, tf.maximum(_not_above(tf.cast(t, tf.float64) + by), floor), floor)

    def guess(
        passes: tf.Tensor, _: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        total, count = over(sample, t)
        low = to_go(total, count, bound) - doubt * bound / tf.maximum(count, 1.0) ** 1.5
        further = moved(t, low, count)
        return passes + 1, tf.reduce_any(further > t), further, sample, bound, doubt

    def guessed(wanted: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: float) -> tf.Tensor:
        # The sample is handed on, as it would be cut out of the whole tensor again in each pass.
        state = 0, wanted, t, sample, bound, tf.constant(doubt, tf.float64)
        return tf.while_loop(lambda passes, moving, *_: moving & (passes < 16), guess, state)[2]

    @between_passes
    def onwards(
        passes: tf.Tensor, at: _At, before: _At, total: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, _At, _At]:
        low = to_go(total, count, bound)
        further = moved(at.t, low, count)
        # Below the solution only rounding leads back, and no further than it can be known.
        moving = tf.math.is_finite(low) & tf.where(at.below, further > at.t, tf.not_equal(further, at.t))
        # The second step counts on as many entries ahead as lay behind; past the solution, the next one leads back.
        density = tf.math.divide_no_nan(before.count - count, tf.cast(at.t, tf.float64) - tf.cast(before.t, tf.float64))
        curved = (passes == 1) & moving & (further > at.t) & (density * low >= 1.0)
        further = tf.where(curved, moved(at.t, low * _lengthening(density * low, count), count), further)
        here = _At(at.t, low, count, at.below)
        ahead = _At(tf.where(moving, further, at.t), low, count, ~curved)
        return passes + 1, tf.reduce_any(moving), ahead, here

    def step(passes: tf.Tensor, _: tf.Tensor, at: _At, before: _At) -> tuple[tf.Tensor, tf.Tensor, _At, _At]:
        return onwards(passes, at, before, *over(w, at.t))

    @between_passes
    def first_step(t: tf.Tensor, total: tf.Tensor, count: tf.Tensor) -> tuple[_At, _At, tf.Tensor]:
        low = to_go(total, count, bound)
        further = moved(t, low, count)
        moving = tf.math.is_finite(low) & tf.not_equal(further, t)
        first = _At(t, low, count, tf.zeros(lowest.shape, tf.bool))
        return first, _At(tf.where(moving, further, t), low, count, tf.ones(lowest.shape, tf.bool)), moving

    def begun(t: tf.Tensor) -> tuple[_At, _At, tf.Tensor]:
        return first_step(t, *over(w, t))

    def from_the_last() -> tuple[tf.Tensor, ...]:
        first, second, moving = begun(tf.where(tf.math.is_finite(start), tf.maximum(start, floor), floor))
        return tf.constant(1), tf.reduce_any(moving), second, first

    @between_passes
    def by_a_sample(w: tf.Tensor) -> tf.Tensor:
        sample = some_rows(w)
        share = sample.shape[0] / w.shape[0]
        t = guessed(tf.constant(True), floor, sample, tf.fill(lowest.shape, bound * share), _DOUBT)
        return tf.where(tf.math.is_finite(t), t, floor)

    @between_passes
    def second_guess(w: tf.Tensor, first: _At, second: _At, moving: tf.Tensor) -> _At:
        sample = some_rows(w)
        share = sample.shape[0] / w.shape[0]
        # What is left to go is told by the whole, how far that is by the sample: better than by either.
        total, _ = over(sample, first.t)
        rest = total - first.low * tf.maximum(first.count, 1.0) * share
        sampled = moving & (rest > 0.0)
        t = guessed(
            tf.reduce_any(moving), tf.minimum(first.t, second.t), sample, tf.where(sampled, rest, bound * share), 0.0
        )
        return _At(tf.where(sampled, t, second.t), second.low, second.count, second.below & ~sampled)

    def from_a_sample() -> tuple[tf.Tensor, ...]:
        if some_rows(w).shape[0] == w.shape[0]:
            first, second, moving = begun(floor)
        else:
            first, second, moving = begun(by_a_sample(w))
            second = second_guess(w, first, second, moving)
        return tf.constant(1), tf.reduce_any(moving), second, first

    _, moving, at, _ = tf.while_loop(
        lambda passes, moving, *_: moving & (passes < _MAX_PASSES),
        step,
        tf.cond(tf.reduce_any(tf.not_equal(start, 0.0)), from_the_last, from_a_sample),
    )
    finite = tf.math.is_finite(at.low)
    # Where nothing at all is above it, the bound was lost in the rounding of the largest entry.
    lost = finite & tf.equal(at.count, 0.0) & (at.t > floor)
    return Threshold(at.t, at.low, at.count, finite, ~moving & ~tf.reduce_any(lost))


class _At(NamedTuple):
    """A float32 number for each column, what is left to the solution from there, the entries above it, and whether it
    is surely no higher than the solution."""

    t: tf.Tensor
    low: tf.Tensor
    count: tf.Tensor
    below: tf.Tensor


def _lengthening(ahead: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """By how much to lengthen a step, as the slope of the excess flattens by the entries ahead that are passed."""
    flattening = tf.clip_by_value(2.0 * ahead / tf.maximum(count, 1.0), 0.0, 1.0)
    return 2.0 / (1.0 + tf.sqrt(1.0 - flattening))


def _not_above(x: tf.Tensor) -> tf.Tensor:
    """The largest float32 that is not above x: float64 [groups] -> float32 [groups]."""
    y = tf.cast(x, tf.float32)
    bits = tf.bitcast(y, tf.int32)
    # The next number down is one less in magnitude above 0, and one more below.
    down = tf.bitcast(tf.where(y > 0.0, bits - 1, bits + 1), tf.float32)
    down = tf.where(tf.equal(y, 0.0), tf.constant(-(2.0**-126), tf.float32), down)
    return tf.where(tf.cast(y, tf.float64) > x, down, y)
