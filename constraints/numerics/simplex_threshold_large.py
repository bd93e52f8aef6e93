"""The threshold over which the excess of each column of a large tensor sums to a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from .reductions import column_totals, jit_glue, sample_rows

# No known input takes more than eight passes.
_MAX_PASSES = 60
# Start this many standard deviations below the sample's estimate. Newton's method converges monotonically from below.
_DOUBT = 4.0


class Threshold(NamedTuple):
    """Where the columns of a tensor are cut: at `high + low`, which float64 alone would round.

    Attributes:
      high: float32 [groups], the largest number of the type that is not above the threshold.
      low: float64 [groups], the rest; below 0 where even the whole column is less than the bound.
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
    def warm_start(self) -> tf.Tensor:
        """Where to start the next time: float32 [1, groups]."""
        return tf.where(self.finite, self.high, 0.0)[tf.newaxis]

    def excess(self, x: tf.Tensor) -> tf.Tensor:
        """What exceeds it, where anything does: float32 [size, groups] -> float64, which may be below 0 elsewhere."""
        return (tf.cast(x, tf.float64) - tf.cast(self.high, tf.float64)) - self.low


def threshold(
    w: tf.Tensor, value: Callable[[tf.Tensor], tf.Tensor], bound: tf.Tensor, lowest: tf.Tensor, start: tf.Tensor
) -> Threshold:
    """Finds t with sum(max(x - t, 0)) = bound for each column, for a function made by `reductions.jit_or_sharded`.

    Newton's method: the sum is convex and decreasing in t, so a step from anywhere ends at or below the solution, and
    from there on t only grows. Each step starts at a float32 number. Once a step reaches no further number, no entry
    lies between, so the support is the true one and t is exact. The first start solves a sample of the rows, which
    leaves two to four passes; from a warm start it is mostly three.

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
        # Test for "not above", so that NaN enters the sum.
        below = rows <= t
        excess = tf.cast(rows, tf.float64) - tf.cast(t, tf.float64)
        return tf.where(below, tf.zeros_like(excess), excess), ~below

    def newton_step(total: tf.Tensor, count: tf.Tensor, bound: tf.Tensor) -> tf.Tensor:
        return (total - bound) / tf.maximum(count, 1.0)

    def advance(t: tf.Tensor, by: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
        return tf.where(count > 0.0, tf.maximum(_not_above(tf.cast(t, tf.float64) + by), floor), floor)

    def guess(
        passes: tf.Tensor, _: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        total, count = over(sample, t)
        low = newton_step(total, count, bound) - doubt * bound / tf.maximum(count, 1.0) ** 1.5
        further = advance(t, low, count)
        return passes + 1, tf.reduce_any(further > t), further, sample, bound, doubt

    def guessed(wanted: tf.Tensor, t: tf.Tensor, sample: tf.Tensor, bound: tf.Tensor, doubt: float) -> tf.Tensor:
        # Hand the sample on; otherwise each pass would cut it out of the whole tensor again.
        state = 0, wanted, t, sample, bound, tf.constant(doubt, tf.float64)
        return tf.while_loop(lambda passes, moving, *_: moving & (passes < 16), guess, state)[2]

    @jit_glue
    def next_step(
        passes: tf.Tensor, at: _Iterate, before: _Iterate, total: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, _Iterate, _Iterate]:
        low = newton_step(total, count, bound)
        further = advance(at.t, low, count)
        # From below the solution only rounding leads back.
        moving = tf.math.is_finite(low) & tf.where(at.below, further > at.t, tf.not_equal(further, at.t))
        # The second step assumes as many entries ahead as behind. If it overshoots, the next step leads back.
        density = tf.math.divide_no_nan(before.count - count, tf.cast(at.t, tf.float64) - tf.cast(before.t, tf.float64))
        curved = (passes == 1) & moving & (further > at.t) & (density * low >= 1.0)
        further = tf.where(curved, advance(at.t, low * _overrelaxation(density * low, count), count), further)
        here = _Iterate(at.t, low, count, at.below)
        ahead = _Iterate(tf.where(moving, further, at.t), low, count, ~curved)
        return passes + 1, tf.reduce_any(moving), ahead, here

    def step(
        passes: tf.Tensor, _: tf.Tensor, at: _Iterate, before: _Iterate
    ) -> tuple[tf.Tensor, tf.Tensor, _Iterate, _Iterate]:
        return next_step(passes, at, before, *over(w, at.t))

    @jit_glue
    def first_step(t: tf.Tensor, total: tf.Tensor, count: tf.Tensor) -> tuple[_Iterate, _Iterate, tf.Tensor]:
        low = newton_step(total, count, bound)
        further = advance(t, low, count)
        moving = tf.math.is_finite(low) & tf.not_equal(further, t)
        first = _Iterate(t, low, count, tf.zeros(lowest.shape, tf.bool))
        return first, _Iterate(tf.where(moving, further, t), low, count, tf.ones(lowest.shape, tf.bool)), moving

    def start_at(t: tf.Tensor) -> tuple[_Iterate, _Iterate, tf.Tensor]:
        return first_step(t, *over(w, t))

    def from_warm_start() -> tuple[tf.Tensor, ...]:
        first, second, moving = start_at(tf.where(tf.math.is_finite(start), tf.maximum(start, floor), floor))
        return tf.constant(1), tf.reduce_any(moving), second, first

    @jit_glue
    def by_a_sample(w: tf.Tensor) -> tf.Tensor:
        sample = sample_rows(w)
        share = sample.shape[0] / w.shape[0]
        t = guessed(tf.constant(True), floor, sample, tf.fill(lowest.shape, bound * share), _DOUBT)
        return tf.where(tf.math.is_finite(t), t, floor)

    @jit_glue
    def second_guess(w: tf.Tensor, first: _Iterate, second: _Iterate, moving: tf.Tensor) -> _Iterate:
        sample = sample_rows(w)
        share = sample.shape[0] / w.shape[0]
        # The whole tensor tells the excess that is left, the sample how far away that is.
        total, _ = over(sample, first.t)
        rest = total - first.low * tf.maximum(first.count, 1.0) * share
        sampled = moving & (rest > 0.0)
        t = guessed(
            tf.reduce_any(moving), tf.minimum(first.t, second.t), sample, tf.where(sampled, rest, bound * share), 0.0
        )
        return _Iterate(tf.where(sampled, t, second.t), second.low, second.count, second.below & ~sampled)

    def from_a_sample() -> tuple[tf.Tensor, ...]:
        if sample_rows(w).shape[0] == w.shape[0]:
            first, second, moving = start_at(floor)
        else:
            first, second, moving = start_at(by_a_sample(w))
            second = second_guess(w, first, second, moving)
        return tf.constant(1), tf.reduce_any(moving), second, first

    _, moving, at, _ = tf.while_loop(
        lambda passes, moving, *_: moving & (passes < _MAX_PASSES),
        step,
        tf.cond(tf.reduce_any(tf.not_equal(start, 0.0)), from_warm_start, from_a_sample),
    )
    finite = tf.math.is_finite(at.low)
    # If no entry is above, the bound was lost in the rounding of the largest entry.
    lost = finite & tf.equal(at.count, 0.0) & (at.t > floor)
    return Threshold(at.t, at.low, at.count, finite, ~moving & ~tf.reduce_any(lost))


class _Iterate(NamedTuple):
    """For each column a float32 number, the Newton step from it, the entries above it, and whether it is certainly at
    or below the solution."""

    t: tf.Tensor
    low: tf.Tensor
    count: tf.Tensor
    below: tf.Tensor


def _overrelaxation(ahead: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The factor that lengthens a step, because passing entries flattens the slope of the excess."""
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
