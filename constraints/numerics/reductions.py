"""Passes over large tensors, compiled by XLA: they read each weight once, in float64, and keep only sums.

TensorFlow's kernels write every intermediate result to memory, which dominates for millions of weights. XLA makes one
loop of a formula and keeps the sums in the cache. Its loops run on one core, so the largest tensors are cut into
shards, which TensorFlow runs side by side.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from .. import numerics

# Sums that are carried along a pass: few enough for the innermost cache, enough for a processor's widest instructions.
_LANES = 2048
# Columns from which a pass is one sum along them, as each row then is more than the cache holds.
_WIDE = 1 << 16
# Rows that one count may go through: two of them share 32 bits.
_COUNTED = 1 << 15
# Weights from which shards pay, and the number of shards. It does not follow the number of cores, because sums would
# round differently on another machine.
_SEVERAL, _PARTS = 1 << 20, 4


def compiled(function: Callable) -> Callable:
    """Compiles a function of large tensors with XLA, whether or not the function around it is compiled."""
    return tf.function(function, autograph=False, jit_compile=True)


def is_sharded(w: tf.Tensor) -> bool:
    """Whether a pass over a tensor is cut into shards: in a graph that XLA does not compile as a whole."""
    if tf.executing_eagerly() or numerics.in_xla():
        return False
    size, groups = w.shape
    return size * groups >= _SEVERAL and size >= 2 * _PARTS and groups <= _WIDE


def jit_or_sharded(function: Callable) -> Callable:
    """Compiles a function of a tensor, unless its passes are cut into shards, each of which is compiled by itself."""
    whole = compiled(function)

    @functools.wraps(function)
    def call(w: tf.Tensor, *arguments: Any) -> Any:
        return (function if is_sharded(w) else whole)(w, *arguments)

    return call


def jit_glue(function: Callable) -> Callable:
    """Compiles what runs between two sharded passes into one operation, because dozens of small ones cost time."""
    return function if tf.executing_eagerly() or numerics.in_xla() else compiled(function)


def column_totals(terms: Callable[..., tuple[tf.Tensor, ...]]) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Makes a pass that sums and counts each column, for functions made by `compiled` or `jit_or_sharded`.

    A pass that is called at several places is best made once, as it is then compiled once.

    Args:
      terms: maps some rows, [rows, groups], and what else the pass is called with, to what is summed in float64, and to
        bools, which are counted: tensors of the rows' shape, any number of them.

    Returns:
      A function of a tensor [size, groups] and of what else `terms` takes: float64 [groups] for each of them.
    """

    def part(number: int, w: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first, end = (edge * w.shape[0] // _PARTS for edge in (number, number + 1))
        return _totals(w, lambda rows: terms(rows, *others), first, end)

    parts = [compiled(functools.partial(part, number)) for number in range(_PARTS)]

    def totals(w: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, ...]:
        if not is_sharded(w):
            return _totals(w, lambda rows: terms(rows, *others), 0, w.shape[0])
        return tuple(tf.add_n(sums) for sums in zip(*(part(w, *others) for part in parts), strict=True))

    return totals


def _totals(
    w: tf.Tensor, terms: Callable[[tf.Tensor], tuple[tf.Tensor, ...]], first: int, end: int
) -> tuple[tf.Tensor, ...]:
    """The sums and counts of some rows."""

    def totals(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.reduce_sum(tf.cast(term, tf.float64), axis=0) for term in terms(rows))

    groups = w.shape[1]
    rows = max(_LANES // max(groups, 1), -(-(end - first) // (_COUNTED - 1)), 1)
    steps = (end - first) // rows
    if steps <= 1 or groups > _WIDE:
        return totals(w[first:end])
    kinds = [term.dtype for term in terms(w[:1])]

    def add(step: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Cut the block out of the whole tensor, because a slice that outlives a step would be a copy.
        block = _packed(terms(tf.slice(w, [first + step * rows, 0], [rows, groups])))
        return step + 1, *(total + term for total, term in zip(sums, block, strict=True))

    start = [tf.zeros([rows, groups], term.dtype) for term in _packed(terms(w[:1]))]
    sums = tf.while_loop(lambda step, *_: step < steps, add, (0, *start))[1:]
    columns = tuple(tf.reduce_sum(tf.cast(total, tf.float64), axis=0) for total in _unpacked(sums, kinds))
    if first + steps * rows == end:
        return columns
    return tuple(total + last for total, last in zip(columns, totals(w[first + steps * rows : end]), strict=True))


def _packed(terms: tuple[tf.Tensor, ...]) -> list[tf.Tensor]:
    """Sums as they are, then counts, two to an integer: XLA makes a loop of each, so the fewer the better."""
    counts = [tf.cast(term, tf.int32) for term in terms if term.dtype == tf.bool]
    pairs = [low + high * (1 << 16) for low, high in zip(counts[::2], counts[1::2], strict=False)]
    return [term for term in terms if term.dtype != tf.bool] + pairs + counts[2 * len(pairs) :]


def _unpacked(sums: tuple[tf.Tensor, ...], kinds: list[tf.DType]) -> list[tf.Tensor]:
    """What `_packed` packed, in the order of the terms."""
    num_counts = sum(kind == tf.bool for kind in kinds)
    num_sums = len(kinds) - num_counts
    counts = []
    for packed in sums[num_sums:]:
        counts += [tf.bitwise.bitwise_and(packed, 0xFFFF), tf.bitwise.right_shift(packed, 16)]
    each = {True: iter(counts), False: iter(sums[:num_sums])}
    return [next(each[kind == tf.bool]) for kind in kinds]


def sample_rows(w: tf.Tensor) -> tf.Tensor:
    """Rows from all over a tensor, a small share of them where there are many: [size, groups] -> [fewer, groups]."""
    size, groups = w.shape
    wanted = max(1024, size // 64, 16384 // max(groups, 1))
    # An odd stride, as what repeats in weights does so every even number of rows.
    stride = max(size // wanted - 1, 0) | 1
    return w[::stride]


_squares = column_totals(lambda rows: (tf.square(tf.cast(rows, tf.float64)),))


@jit_or_sharded
def squares(w: tf.Tensor) -> tf.Tensor:
    """Sum of squares of each column: float32 [size, groups] -> float64 [groups]."""
    return _squares(w)[0]
