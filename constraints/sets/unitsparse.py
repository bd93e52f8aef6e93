"""Kernels with few units."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from ..numerics.reductions import compiled, squares
from ._structured import SparseParts


@dataclasses.dataclass(frozen=True, eq=False)
class UnitSparse(SparseParts):
    """Kernels with at least a share `sparsity` of units that are zero: at most k non-zero units, k = n - round(s n).

    A kernel of n units, columns x_j, has the nearest point that keeps the k units of the largest ||x_j||_2, bit for
    bit, and sets all weights of the others to 0. Not convex; of units of equal norm the first is kept, and units that
    differ by signs or by the order of their weights are equal (so are those whose squared norms agree to some 2^-48).
    A kernel with k non-zero units or fewer stays. round takes halves to even. The grouping says what a unit is: a unit,
    a filter, a head, a gate or a row. O(size of the kernel), and a selection among n.

    Attributes:
      sparsity: share of zero units, in [0, 1).

    References:
      Yuan and Lin, "Model selection and estimation in regression with grouped variables", 2006.
      Wen, Wu, Wang, Chen and Li, "Learning Structured Sparsity in Deep Neural Networks", 2016.
      Li, Kadav, Durdanovic, Samet and Graf, "Pruning Filters for Efficient ConvNets", 2017.
    """

    sparsity: Any = hyperparameter(0.5, "Share of a kernel's units that are zero.", minimum=0.0, below=1.0)

    def parts(self, w: tf.Tensor) -> tf.Tensor:
        return w

    def squares(self, w: tf.Tensor) -> tf.Tensor:
        groups, size, units = w.shape
        columns = tf.reshape(w if groups == 1 else tf.transpose(w, [1, 0, 2]), [size, groups * units])
        return tf.reshape(squares(columns), [groups, units])

    def chosen(self, w: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
        return _chosen(w, marks[:, tf.newaxis, :])

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        return marks[:, tf.newaxis, :]


@compiled
def _chosen(w: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
    return tf.where(marks, w, tf.zeros_like(w))
