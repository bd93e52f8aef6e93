"""Passes over large tensors, compiled by XLA: they read each weight once, in float64, and keep nothing but sums.

TensorFlow's kernels write every intermediate result to memory, which for millions of weights is all their cost. XLA
makes one loop of a formula; here it also keeps the sums in the cache.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Float64 sums that are carried along a pass: few enough for the cache, enough for a processor's widest instructions.
_LANES = 8192
# Columns from which a pass is one sum along them, as each row then is more than the cache holds.
_WIDE = 1 << 16


def compiled(function: Callable) -> Callable:
    """Compiles with XLA what is applied to large tensors, whatever the function around it."""
    return tf.function(function, autograph=False, jit_compile=True)


def column_totals(w: tf.Tensor, terms: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]) -> tuple[tf.Tensor, ...]:
    """Sums of each column in one pass, for a compiled function.

    Args:
      w: [size, groups].
      terms: maps some rows of it, [rows, groups], to what is summed: tensors of that shape, any number of them.

    Returns:
      float64 [groups] each.
    """

    def totals(rows: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tuple(tf.reduce_sum(tf.cast(term, tf.float64), axis=0) for term in terms(rows))

    size, groups = w.shape
    rows = max(_LANES // max(groups, 1), 1)
    if size <= rows or groups > _WIDE:
        return totals(w)
    steps = size // rows

    def add(step: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # Cut out of the whole tensor, as any part of it that outlives a step would be a copy.
        block = terms(tf.slice(w, [step * rows, 0], [rows, groups]))
        return step + 1, *(total + tf.cast(term, tf.float64) for total, term in zip(sums, block, strict=True))

    # As many sums as there are terms, which only they know.
    count = len(terms(w[:1]))
    start = (tf.zeros([rows, groups], tf.float64),) * count
    sums = tf.while_loop(lambda step, *_: step < steps, add, (0, *start))[1:]
    columns = tuple(tf.reduce_sum(total, axis=0) for total in sums)
    if steps * rows == size:
        return columns
    return tuple(total + last for total, last in zip(columns, totals(w[steps * rows :]), strict=True))


def some_rows(w: tf.Tensor) -> tf.Tensor:
    """Rows from all over a tensor, a small share of them where there are many: [size, groups] -> [fewer, groups]."""
    size, groups = w.shape
    wanted = max(1024, size // 64, 16384 // max(groups, 1))
    # An odd stride, as what repeats in weights does so every even number of rows.
    stride = max(size // wanted - 1, 0) | 1
    return w[::stride]


@compiled
def squares(w: tf.Tensor) -> tf.Tensor:
    """Sum of squares of each column: float32 [size, groups] -> float64 [groups]."""
    return column_totals(w, lambda rows: (tf.square(tf.cast(rows, tf.float64)),))[0]
