"""The k largest magnitudes of each column of a large tensor, by counting: no sort, and no copy."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from .. import numerics
from .reductions import between_passes, column_totals, compiled, some_rows, whole_or_parts

_INFINITY = 0x7F800000
# Thirds of what 32 bits hold are gone through in twenty passes, and not every other pass can do worse.
_MAX_PASSES = 60
# Standard deviations of the rank that a sample tells, between which the true one is first looked for.
_SURE = 3.0
# How far from the last cut the next one is looked for, in numbers of the type, at least and at most.
_LEAST, _MOST = 1 << 8, 1 << 24


class Cut(NamedTuple):
    """From where on magnitudes are kept, as their bits.

    Attributes:
      bits: int32 [groups].
      reached: float64 [groups], entries that reach it: at least as many as are kept, more where some tie.
      finite: bool [groups], whether all of a column's entries are; the others' cuts mean nothing.
      found: bool scalar, whether all of them were found.
      carried: float32 [2, groups], for the next call: the cut as a number, and how far from it to look, in bits.
    """

    bits: tf.Tensor
    reached: tf.Tensor
    finite: tf.Tensor
    found: tf.Tensor
    carried: tf.Tensor


class _Between(NamedTuple):
    """Bits that enough entries reach, bits that too few do, and how many that is: [groups] each."""

    low: tf.Tensor
    high: tf.Tensor
    reach_low: tf.Tensor
    reach_high: tf.Tensor


def cut(w: tf.Tensor, kept: tf.Tensor, carried: tf.Tensor) -> Cut:
    """Finds bits that exactly `kept` magnitudes of each column reach, or those of the kept-th where some tie.

    Not for XLA. A sample of the rows tells between which bits they lie, or the last cut where there is one. Each pass
    then counts how many entries reach two numbers in between, close to where they would lie if those there were spread
    evenly.

    Args:
      w: float32 [size, groups], at least one row.
      kept: int32 scalar, from 1 to size.
      carried: float32 [2, groups], what the last cut carried; zeros where there is none.

    Returns:
      The cuts.
    """
    size = w.shape[0]

    def from_a_sample() -> tuple[tf.Tensor, tf.Tensor]:
        # Turned as floats, as oneDNN complains of integers.
        sample = numerics.magnitude_bits(tf.transpose(some_rows(w)))
        fewer = sample.shape[1]
        share = tf.cast(kept, tf.float64) / size
        deviation = _SURE * tf.sqrt(fewer * share * (1.0 - share)) + 1.0

        def guessed(rank: tf.Tensor) -> tf.Tensor:
            place = tf.clip_by_value(tf.cast(rank, tf.int32), 0, fewer - 1)
            return tf.raw_ops.NthElement(input=sample, n=place, reverse=True)

        return guessed(share * fewer + deviation), guessed(share * fewer - deviation)

    last, reach = numerics.magnitude_bits(carried[0]), tf.cast(tf.clip_by_value(carried[1], _LEAST, _MOST), tf.int32)
    low, high = tf.cond(
        tf.reduce_all(last > 0),
        numerics.rarely(lambda: (tf.maximum(last - reach, 0), tf.minimum(last + reach, _INFINITY))),
        numerics.rarely(from_a_sample),
    )
    return _cut(w, tf.cast(kept, tf.float64), low, high, last)


def ties(w: tf.Tensor, cut: Cut, kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How far down entries that equal a cut are kept, where fewer are than reach it; not for XLA.

    Among millions of float32 weights some mostly tie.

    Args:
      w: float32 [size, groups].
      cut: its cuts.
      kept: int32 scalar.

    Returns:
      int32 [groups], the last row whose entry is kept if it equals the cut; bool scalar, whether so many tie that these
      are not found.
    """
    size, groups = w.shape
    tied = cut.finite & (cut.bits > 0) & (cut.reached > tf.cast(kept, tf.float64))
    # Row by row.
    places = tf.where(_equal(w, cut, tied))

    def last_rows() -> tf.Tensor:
        by_column = tf.gather(places, tf.argsort(places[:, 1], stable=True))
        ends = tf.searchsorted(by_column[:, 1], tf.range(groups, dtype=tf.int64), side="right", out_type=tf.int32)
        too_many = tf.cast(cut.reached, tf.int32) - kept
        rows = tf.gather(by_column[:, 0], tf.maximum(ends - 1 - too_many, 0))
        return tf.where(tied, tf.cast(rows, tf.int32), size)

    none = tf.fill([groups], size)
    count = tf.shape(places)[0]
    many = count > size * groups // 64
    return tf.cond((count > 0) & ~many, last_rows, lambda: none), many


@compiled
def chosen(w: tf.Tensor, cut: Cut, last: tf.Tensor) -> tf.Tensor:
    """w where its magnitude reaches the cut, but for ties below the last row, and in columns that are not finite.

    Args:
      w: float32 [size, groups].
      cut: its cuts.
      last: int32 [groups].

    Returns:
      float32 [size, groups], 0.0 elsewhere.
    """
    bits = numerics.magnitude_bits(w)
    row = tf.range(w.shape[0])[:, tf.newaxis]
    reached = (bits > cut.bits) | (tf.equal(bits, cut.bits) & (row <= last))
    return tf.where(reached | ~cut.finite, w, tf.zeros_like(w))


@compiled
def _equal(w: tf.Tensor, cut: Cut, tied: tf.Tensor) -> tf.Tensor:
    return tf.equal(numerics.magnitude_bits(w), cut.bits) & tied


@whole_or_parts
def _cut(w: tf.Tensor, kept: tf.Tensor, low: tf.Tensor, high: tf.Tensor, before: tf.Tensor) -> Cut:
    @column_totals
    def reach(rows: tf.Tensor, *bits: tf.Tensor) -> tuple[tf.Tensor, ...]:
        magnitude = numerics.magnitude_bits(rows)
        return tuple(magnitude >= least for least in bits)

    def narrowed(between: _Between, *counted: tuple[tf.Tensor, tf.Tensor]) -> _Between:
        for bits, count in counted:
            enough = count >= kept
            up, down = enough & (bits > between.low), ~enough & (bits < between.high)
            between = _Between(
                tf.where(up, bits, between.low),
                tf.where(down, bits, between.high),
                tf.where(up, count, between.reach_low),
                tf.where(down, count, between.reach_high),
            )
        return between

    def going(between: _Between) -> tf.Tensor:
        return finite & (between.reach_low > kept) & (between.high - between.low > 1)

    @between_passes
    def places(slow: tf.Tensor, between: _Between) -> tuple[tf.Tensor, tf.Tensor]:
        inside = between.reach_low - between.reach_high
        gap = tf.cast(between.high - between.low, tf.float64)
        share = (between.reach_low - kept) / tf.maximum(inside, 1.0)
        spread = 1.5 * tf.sqrt(share * (1.0 - share) / tf.maximum(inside, 1.0))

        def at(place: tf.Tensor, third: float) -> tf.Tensor:
            further = tf.cast(gap * tf.where(slow, tf.constant(third, tf.float64), place), tf.int32)
            return between.low + tf.clip_by_value(further, 1, tf.maximum(between.high - between.low - 1, 1))

        return at(share - spread, 1.0 / 3.0), at(share + spread, 2.0 / 3.0)

    @between_passes
    def onwards(
        between: _Between, bits: tuple[tf.Tensor, ...], counts: tuple[tf.Tensor, ...]
    ) -> tuple[tf.Tensor, tf.Tensor, _Between]:
        after = narrowed(between, *zip(bits, counts, strict=True))
        slow = after.reach_low - after.reach_high > 0.5 * (between.reach_low - between.reach_high)
        return tf.reduce_any(going(after)), slow, after

    def step(
        passes: tf.Tensor, _: tf.Tensor, slow: tf.Tensor, between: _Between
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, _Between]:
        bits = places(slow, between)
        return passes + 1, *onwards(between, bits, reach(w, *bits))

    over, from_low, from_high = reach(w, tf.constant(_INFINITY), low, high)
    finite = over <= 0.0
    zero = tf.zeros(w.shape[1:], tf.int32)
    whole = _Between(zero, zero + _INFINITY, tf.fill(w.shape[1:], tf.constant(w.shape[0], tf.float64)), over)
    wanted, _, between = onwards(whole, (low, high), (from_low, from_high))
    _, wanted, _, between = tf.while_loop(
        lambda passes, wanted, *_: wanted & (passes < _MAX_PASSES),
        step,
        (0, wanted, tf.zeros(w.shape[1:], tf.bool), between),
    )
    # So far again, and as much to spare; as numbers of bits, which float32 rounds but does not lose.
    further = tf.cast(2 * tf.minimum(tf.abs(between.low - before), _MOST // 2), tf.float32)
    carried = tf.stack([tf.bitcast(between.low, tf.float32), further])
    return Cut(between.low, between.reach_low, finite, ~wanted, tf.where(finite, carried, 0.0))
