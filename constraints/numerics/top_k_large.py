"""The k largest magnitudes of each column of a large tensor, by counting: no sort, and no copy."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .. import numerics
from .reductions import column_totals, compiled, jit_glue, jit_or_sharded, sample_rows

_INFINITY = 0x7F800000
# Trisecting 32 bits takes 20 passes. At least every other pass trisects, so 60 is a safe limit.
_MAX_PASSES = 60
# The first bracket spans this many standard deviations of the sample's rank to each side.
_SURE = 3.0
# Width of a warm start's bracket to each side, in numbers of the type, at least and at most.
_LEAST, _MOST = 1 << 8, 1 << 24


class TopKThreshold(NamedTuple):
    """The smallest magnitude that is kept, by its bits.

    Attributes:
      bits: int32 [groups].
      count_at_least: float64 [groups], entries that reach it: at least k, more where some tie.
      finite: bool [groups], whether all of a column's entries are; the others' thresholds mean nothing.
      found: bool scalar, whether all of them were found.
      warm_start: float32 [2, groups], for the next call: the threshold, and the width of its bracket in bits.
    """

    bits: tf.Tensor
    count_at_least: tf.Tensor
    finite: tf.Tensor
    found: tf.Tensor
    warm_start: tf.Tensor


class _Bracket(NamedTuple):
    """Bits that at least k entries reach, bits that fewer reach, and both counts: [groups] each."""

    low: tf.Tensor
    high: tf.Tensor
    reach_low: tf.Tensor
    reach_high: tf.Tensor


def cut(w: tf.Tensor, k: tf.Tensor, warm_start: tf.Tensor) -> TopKThreshold:
    """Finds bits that exactly k magnitudes of each column reach, or those of the k-th where some tie; not for XLA.

    A sample of the rows, or the warm start, gives a bracket. Each pass counts how many entries reach two numbers in it,
    which are placed as if the entries were spread evenly.

    Args:
      w: float32 [size, groups], at least one row.
      k: int32 scalar, from 1 to size.
      warm_start: float32 [2, groups], from the last threshold; zeros where there is none.

    Returns:
      The thresholds.
    """
    size = w.shape[0]

    def from_a_sample() -> tuple[tf.Tensor, tf.Tensor]:
        # Turned as floats, as oneDNN complains of integers.
        sample = numerics.magnitude_bits(tf.transpose(sample_rows(w)))
        fewer = sample.shape[1]
        share = tf.cast(k, tf.float64) / size
        deviation = _SURE * tf.sqrt(fewer * share * (1.0 - share)) + 1.0

        def guessed(rank: tf.Tensor) -> tf.Tensor:
            place = tf.clip_by_value(tf.cast(rank, tf.int32), 0, fewer - 1)
            return tf.raw_ops.NthElement(input=sample, n=place, reverse=True)

        return guessed(share * fewer + deviation), guessed(share * fewer - deviation)

    last = numerics.magnitude_bits(warm_start[0])
    reach = tf.cast(tf.clip_by_value(warm_start[1], _LEAST, _MOST), tf.int32)
    low, high = tf.cond(
        tf.reduce_all(last > 0),
        numerics.outlined(lambda: (tf.maximum(last - reach, 0), tf.minimum(last + reach, _INFINITY))),
        numerics.outlined(from_a_sample),
    )
    return _cut(w, tf.cast(k, tf.float64), low, high, last)


def break_ties(w: tf.Tensor, cut: TopKThreshold, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How far down entries that equal the threshold are kept, where more than k reach it; not for XLA.

    Args:
      w: float32 [size, groups].
      cut: its thresholds.
      k: int32 scalar.

    Returns:
      int32 [groups], the last row whose entry is kept if it equals the threshold; bool scalar, whether too many tie for
      these to be found.
    """
    size, groups = w.shape
    tied = cut.finite & (cut.bits > 0) & (cut.count_at_least > tf.cast(k, tf.float64))
    # Row by row.
    places = tf.where(_equal(w, cut, tied))

    def last_rows() -> tf.Tensor:
        by_column = tf.gather(places, tf.argsort(places[:, 1], stable=True))
        ends = tf.searchsorted(by_column[:, 1], tf.range(groups, dtype=tf.int64), side="right", out_type=tf.int32)
        too_many = tf.cast(cut.count_at_least, tf.int32) - k
        rows = tf.gather(by_column[:, 0], tf.maximum(ends - 1 - too_many, 0))
        return tf.where(tied, tf.cast(rows, tf.int32), size)

    none = tf.fill([groups], size)
    count = tf.shape(places)[0]
    many = count > size * groups // 64
    return tf.cond((count > 0) & ~many, last_rows, lambda: none), many


@compiled
def keep_top_k(w: tf.Tensor, cut: TopKThreshold, last: tf.Tensor) -> tf.Tensor:
    """w where it reaches the threshold (ties only down to the last row), and in columns that are not finite.

    Args:
      w: float32 [size, groups].
      cut: its thresholds.
      last: int32 [groups].

    Returns:
      float32 [size, groups], 0.0 elsewhere.
    """
    bits = numerics.magnitude_bits(w)
    row = tf.range(w.shape[0])[:, tf.newaxis]
    kept = (bits > cut.bits) | (tf.equal(bits, cut.bits) & (row <= last))
    return tf.where(kept | ~cut.finite, w, tf.zeros_like(w))


@compiled
def _equal(w: tf.Tensor, cut: TopKThreshold, tied: tf.Tensor) -> tf.Tensor:
    return tf.equal(numerics.magnitude_bits(w), cut.bits) & tied


@jit_or_sharded
def _cut(w: tf.Tensor, k: tf.Tensor, low: tf.Tensor, high: tf.Tensor, before: tf.Tensor) -> TopKThreshold:
    @column_totals
    def reach(rows: tf.Tensor, *bits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        magnitude = numerics.magnitude_bits(rows)
        return tuple(magnitude >= least for least in bits)

    def narrowed(between: _Bracket, *counted: tuple[tf.Tensor, tf.Tensor]) -> _Bracket:
        for bits, count in counted:
            enough = count >= k
            up, down = enough & (bits > between.low), ~enough & (bits < between.high)
            between = _Bracket(
                tf.where(up, bits, between.low),
                tf.where(down, bits, between.high),
                tf.where(up, count, between.reach_low),
                tf.where(down, count, between.reach_high),
            )
        return between

    def going(between: _Bracket) -> tf.Tensor:
        return finite & (between.reach_low > k) & (between.high - between.low > 1)

    @jit_glue
    def places(slow: tf.Tensor, between: _Bracket) -> tuple[tf.Tensor, tf.Tensor]:
        inside = between.reach_low - between.reach_high
        gap = tf.cast(between.high - between.low, tf.float64)
        share = (between.reach_low - k) / tf.maximum(inside, 1.0)
        spread = 1.5 * tf.sqrt(share * (1.0 - share) / tf.maximum(inside, 1.0))

        def at(place: tf.Tensor, third: float) -> tf.Tensor:
            further = tf.cast(gap * tf.where(slow, tf.constant(third, tf.float64), place), tf.int32)
            return between.low + tf.clip_by_value(further, 1, tf.maximum(between.high - between.low - 1, 1))

        return at(share - spread, 1.0 / 3.0), at(share + spread, 2.0 / 3.0)

    @jit_glue
    def next_step(
        between: _Bracket, bits: tuple[tf.Tensor, ...], counts: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor, _Bracket]:
        after = narrowed(between, *zip(bits, counts, strict=True))
        slow = after.reach_low - after.reach_high > 0.5 * (between.reach_low - between.reach_high)
        return tf.reduce_any(going(after)), slow, after

    def step(
        passes: tf.Tensor, _: tf.Tensor, slow: tf.Tensor, between: _Bracket
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, _Bracket]:
        bits = places(slow, between)
        return passes + 1, *next_step(between, bits, reach(w, *bits))

    over, from_low, from_high = reach(w, tf.constant(_INFINITY), low, high)
    finite = over <= 0.0
    zero = tf.zeros(w.shape[1:], tf.int32)
    whole = _Bracket(zero, zero + _INFINITY, tf.fill(w.shape[1:], tf.constant(w.shape[0], tf.float64)), over)
    wanted, _, between = next_step(whole, (low, high), (from_low, from_high))
    _, wanted, _, between = tf.while_loop(
        lambda passes, wanted, *_: wanted & (passes < _MAX_PASSES),
        step,
        (0, wanted, tf.zeros(w.shape[1:], tf.bool), between),
    )
    # Twice the last move. Numbers of bits, which float32 rounds but does not lose.
    further = tf.cast(2 * tf.minimum(tf.abs(between.low - before), _MOST // 2), tf.float32)
    warm_start = tf.stack([tf.bitcast(between.low, tf.float32), further])
    return TopKThreshold(between.low, between.reach_low, finite, ~wanted, tf.where(finite, warm_start, 0.0))
