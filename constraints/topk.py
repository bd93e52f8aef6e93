"""Vectors with few non-zeros."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint, hyperparameter


@dataclasses.dataclass(frozen=True, eq=False)
class TopK(Constraint):
    """Groups with at least a share `sparsity` of exact zeros: { x : at most k non-zeros }, k = n - round(sparsity n).

    The nearest point of x keeps its k largest magnitudes and sets the rest to 0. Not convex; of equal magnitudes the first is
    kept, in row-major order, so exactly k remain. A group with k non-zeros or fewer stays. round takes halves to even, and
    n is the number of weights in a group. The k-th magnitude is found by bisection on the magnitudes' bits, without a sort:
    O(n) a pass, at most one pass per bit.

    Attributes:
      sparsity: share of zeros, in [0, 1).

    References:
      Blumensath and Davies, "Iterative Hard Thresholding for Compressed Sensing", 2009.
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2018.
    """

    sparsity: Any = hyperparameter(0.5, "Share of a unit's incoming weights that are zero.", minimum=0.0, below=1.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bits = numerics.magnitude_bits(x)
        kept = self._kept(x.shape[0])
        few = tf.math.count_nonzero(bits, axis=0, dtype=tf.int32) <= kept
        return tf.where(few | _largest(bits, kept), x, tf.zeros_like(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return tf.where(numerics.finite_groups(w), self.project(w, w.dtype), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.math.count_nonzero(numerics.magnitude_bits(w), axis=0, dtype=tf.int32) >= self._kept(w.shape[0])

    def _kept(self, size: int) -> tf.Tensor:
        return tf.cast(size - tf.round(self.value("sparsity") * size), tf.int32)


def _largest(bits: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    """Marks the `kept` largest entries of each column, the first of equal ones.

    Args:
      bits: non-negative integers [size, groups].
      kept: int32 scalar, at most size.

    Returns:
      bool [size, groups].
    """
    highest_bit = 8 * bits.dtype.size - 2
    # 16-bit integers lack kernels for some of what follows.
    bits = tf.cast(bits, tf.int32) if bits.dtype == tf.int16 else bits
    highest = tf.constant(1 << highest_bit, bits.dtype)

    def reached(threshold: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(tf.cast(bits >= threshold, tf.int32), axis=0)

    def refine(bit: tf.Tensor, threshold: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        higher = reached(threshold + bit)
        enough = higher >= kept
        return bit // 2, tf.where(enough, threshold + bit, threshold), tf.where(enough, higher, count)

    groups = bits.shape[1]
    start = highest, tf.zeros([groups], bits.dtype), tf.fill([groups], bits.shape[0])
    _, threshold, count = tf.while_loop(
        lambda bit, threshold, count: (bit > 0) & tf.reduce_any(count != kept), refine, start
    )

    def first_of_equals() -> tf.Tensor:
        above, equal = bits > threshold, bits == threshold
        room = kept - tf.reduce_sum(tf.cast(above, tf.int32), axis=0)
        return above | (equal & (tf.cumsum(tf.cast(equal, tf.int32), axis=0) <= room))

    return tf.cond(tf.reduce_any(count != kept), first_of_equals, lambda: bits >= threshold)
