"""The threshold over which the excess of each column of a large tensor sums to a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from constraints.passes import column_totals, some_rows

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

    def excess(self, x: tf.Tensor) -> tf.Tensor:
        """What exceeds it, where anything does: float32 [size, groups] -> float64, which may be below 0 elsewhere."""
        return (tf.cast(x, tf.float64) - tf.cast(self.high, tf.float64)) - self.low


def threshold(w: tf.Tensor, value: Callable[[tf.Tensor], tf.Tensor], bound: tf.Tensor, lowest: tf.Tensor) -> Threshold:
    """Finds t with sum(max(x - t, 0)) = bound for each column, for a compiled function.

    Newton's method: the sum is convex and decreasing in t, so a step from anywhere ends at or below the solution, and
    from there on t only grows. Each step starts at a float32 number; once the step leads to no further one, no entry
    lies between, the support is the true one and t exact. The start is the solution for a sample of the rows, so that
    two to four passes are enough.

    Args:
      w: float32 [size, groups].
      value: maps some of it to x, of the same shape and type.
      bound: float64 scalar, above 0.
      lowest: float64 [groups], not above the solution.

    Returns:
      The thresholds, no lower than `lowest`.
    """
    floor = _not_above(lowest)

    def newton(w: tf.Tensor, t: tf.Tensor, bound: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def terms(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows = value(rows)
            over = tf.cast(rows, tf.float64) - tf.cast(t, tf.float64)
            # So that NaN is in the sum.
            return tf.where(rows <= t, tf.zeros([], tf.float64), over), tf.cast(rows > t, tf.float32)

        over, count = column_totals(w, terms)
        return (over - bound) / tf.maximum(count, 1.0), count

    def moved(t: tf.Tensor, by: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return tf.where(count > 0.0, tf.maximum(_not_above(tf.cast(t, tf.float64) + by), floor), floor)

    def guess(
        passes: tf.Tensor, _: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        low, count = newton(sample, t, bound)
        low -= doubt * bound / tf.maximum(count, 1.0) ** 1.5
        further = moved(t, low, count)
        return passes + 1, tf.reduce_any(further > t), further, sample, bound, doubt

    def guessed(wanted: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: float) -> tf.Tensor:
        # The sample is handed on, as it would be cut out of the whole tensor again in each pass.
        state = 0, wanted, t, sample, bound, tf.constant(doubt, tf.float64)
        return tf.while_loop(lambda passes, moving, *_: moving & (passes < 16), guess, state)[2]

    def step(passes: tf.Tensor, _: tf.Tensor, at: _At, before: _At) -> tuple[tf.Tensor, tf.Tensor, _At, _At]:
        low, count = newton(w, at.t, bound)
        further = moved(at.t, low, count)
        # Below the solution only rounding leads back, and no further than it can be known.
        moving = tf.math.is_finite(low) & tf.where(at.below, further > at.t, tf.not_equal(further, at.t))
        # The second step counts on as many entries ahead as lay behind; past the solution, the next one leads back.
        curved = (passes == 1) & moving & (further > at.t)
        further = tf.where(
            curved, moved(at.t, low * _curvature(at.t, before.t, low, count, before.count), count), further
        )
        here = _At(at.t, low, count, at.below)
        ahead = _At(tf.where(moving, further, at.t), low, count, ~curved)
        return passes + 1, tf.reduce_any(moving), ahead, here

    sample = some_rows(w)
    share = sample.shape[0] / w.shape[0]
    start = floor
    if share < 1.0:
        start = guessed(tf.constant(True), floor, sample, tf.fill(lowest.shape, bound * share), _DOUBT)
        start = tf.where(tf.math.is_finite(start), start, floor)
    low, count = newton(w, start, bound)
    further = moved(start, low, count)
    moving = tf.math.is_finite(low) & tf.not_equal(further, start)
    first = _At(start, low, count, tf.zeros(lowest.shape, tf.bool))
    second = _At(tf.where(moving, further, start), low, count, tf.ones(lowest.shape, tf.bool))
    if share < 1.0:
        # What is left to go is told by the whole, how far that is by the sample: better than by either.
        mean, entries = newton(sample, start, tf.zeros([], tf.float64))
        rest = mean * tf.maximum(entries, 1.0) - low * tf.maximum(count, 1.0) * share
        sampled = moving & (rest > 0.0)
        t = guessed(
            tf.reduce_any(moving), tf.minimum(start, further), sample, tf.where(sampled, rest, bound * share), 0.0
        )
        second = _At(tf.where(sampled, t, second.t), low, count, second.below & ~sampled)
    _, moving, at, _ = tf.while_loop(
        lambda passes, moving, *_: moving & (passes < _MAX_PASSES),
        step,
        (1, tf.reduce_any(moving), second, first),
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


def _curvature(t: tf.Tensor, before: tf.Tensor, step: tf.Tensor, count: tf.Tensor, more: tf.Tensor) -> tf.Tensor:
    """By how much to lengthen a step, as the slope of the excess flattens by the entries that are passed."""
    density = tf.math.divide_no_nan(more - count, tf.cast(t, tf.float64) - tf.cast(before, tf.float64))
    flattening = tf.clip_by_value(2.0 * density * step / tf.maximum(count, 1.0), 0.0, 1.0)
    return 2.0 / (1.0 + tf.sqrt(1.0 - flattening))


def _not_above(x: tf.Tensor) -> tf.Tensor:
    """The largest float32 that is not above x: float64 [groups] -> float32 [groups]."""
    y = tf.cast(x, tf.float32)
    bits = tf.bitcast(y, tf.int32)
    # The next number down is one less in magnitude above 0, and one more below.
    down = tf.bitcast(tf.where(y > 0.0, bits - 1, bits + 1), tf.float32)
    down = tf.where(tf.equal(y, 0.0), tf.constant(-(2.0**-126), tf.float32), down)
    return tf.where(tf.cast(y, tf.float64) > x, down, y)
