"""Vectors with few non-zeros."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics import top_k_large
from ..numerics.top_k import kept, kth, largest

# Differences of numbers above it are never subnormal, which arithmetic flushes to zero.
_USUAL = 2.0**-100
# Weights from which counting from the last cut costs less than selecting.
_WORTHWHILE = 1 << 14


@dataclasses.dataclass(frozen=True, eq=False)
class TopK(Constraint):
    """Groups with at least a share `sparsity` of exact zeros: { x : at most k non-zeros }, k = n - round(sparsity n).

    A group is a whole tensor unless `axis` says otherwise, as `axis=0` does for the units of a dense kernel.

    The nearest point of x keeps its k largest magnitudes and sets the rest to 0. Not convex; of equal magnitudes the
    first is kept, in row-major order, so exactly k remain. A group with k non-zeros or fewer stays. round takes halves
    to even, and n is the number of weights in a group. The k-th magnitude is selected by its bits, without a sort: O(n)
    (under XLA by bisection, O(n) a pass and at most one pass a bit). For more than a few float32 weights the others are
    zeroed by arithmetic, which costs less than comparing and selecting, unless magnitudes tie at the k-th;
    a -0.0 comes back as 0.0 there. For very many it is selected by counting, see `constraints.numerics.top_k_large`.

    Attributes:
      sparsity: share of zeros, in [0, 1).

    References:
      Blumensath and Davies, "Iterative Hard Thresholding for Compressed Sensing", 2009.
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2018.
    """

    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True
    solid: ClassVar[bool] = True
    exchangeable: ClassVar[bool] = True
    selects: ClassVar[bool] = True
    carried: ClassVar[int] = 2
    # A share of a whole tensor, as pruning means it: units may differ in how many weights they need.
    grouping: ClassVar[str] = "tensor"

    sparsity: Any = hyperparameter(0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0)

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bits = numerics.magnitude_bits(x)
        room = kept(self.value("sparsity"), x.shape[0])
        few = tf.math.count_nonzero(bits, axis=0, dtype=tf.int32) <= room
        return tf.where(few | largest(bits, room), x, tf.zeros_like(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if numerics.many(w) and not numerics.in_xla():
            return self._counted(w, tf.zeros([self.carried, w.shape[1]]))[0]
        if w.dtype != tf.float32 or numerics.few(w) or numerics.in_xla():
            return self._selected(w)
        room = kept(self.value("sparsity"), w.shape[0])
        magnitude = tf.abs(w)
        bits = kth(tf.bitcast(magnitude, tf.int32), room)
        # Above the number before the k-th magnitude lie the k largest, unless several equal the k-th.
        over = tf.nn.relu(tf.nn.bias_add(magnitude, -tf.bitcast(bits - 1, tf.float32)))
        count = numerics.column_sums(tf.sign(over))[0]
        plain = tf.equal(count, tf.cast(room, tf.float32))
        plain &= (tf.bitcast(bits, tf.float32) > _USUAL) & tf.math.is_finite(numerics.column_sums(magnitude)[0])
        exactly = numerics.rarely(lambda: self._selected(w))
        return tf.cond(tf.reduce_all(plain), lambda: _chosen(w, over, count), exactly)

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if w.dtype != tf.float32 or w.shape.num_elements() < _WORTHWHILE or numerics.in_xla():
            return self.nearest(w), carried
        return self._counted(w, carried)

    def _counted(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        room = kept(self.value("sparsity"), w.shape[0])
        cut = top_k_large.cut(w, tf.maximum(room, 1), carried)
        last, many = tf.cond(
            tf.reduce_all(~cut.finite | tf.equal(cut.bits, 0) | tf.equal(cut.reached, tf.cast(room, tf.float64))),
            lambda: (tf.fill([w.shape[1]], w.shape[0]), tf.constant(False)),
            lambda: top_k_large.ties(w, cut, room),
        )
        exactly = numerics.rarely(lambda: self._selected(w))
        return tf.cond(many | (room < 1) | ~cut.found, exactly, lambda: top_k_large.chosen(w, cut, last)), cut.carried

    def _selected(self, w: tf.Tensor) -> tf.Tensor:
        return tf.where(numerics.finite_groups(w), self.project(w, w.dtype), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.math.count_nonzero(numerics.magnitude_bits(w), axis=0, dtype=tf.int32) >= kept(
            self.value("sparsity"), w.shape[0]
        )


def _chosen(w: tf.Tensor, over: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """w where `over` is above 0 and 0.0 elsewhere, without selections: [size, groups], all finite."""
    # 0 * w may be -0.0, which adding zeros that no optimizer knows to be zeros turns into 0.0.
    return tf.nn.bias_add(tf.raw_ops.ReluGrad(gradients=w, features=over), tf.nn.relu(-count))
