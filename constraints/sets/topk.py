"""Vectors with few non-zeros."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..numerics.top_k import num_nonzeros, top_k_mask


@dataclasses.dataclass(frozen=True, eq=False)
class TopK(Constraint):
    """Groups with a share `sparsity` of exact zeros: argmin_p ||p - x|| over { p : at most k non-zeros }.

    The nearest point keeps the k = n - round(sparsity n) largest of n magnitudes and sets the rest to 0. Not convex; of
    equal magnitudes the first is kept, in row-major order, so exactly k remain. A group with k non-zeros or fewer
    stays. round takes halves to even. The k-th magnitude is selected by its bits, without a sort: O(n).

    A group is a whole tensor unless `axis` says otherwise, as `axis=0` does for the units of a dense kernel.

    Attributes:
      sparsity: share of zeros, in [0, 1).

    References:
      Blumensath and Davies, "Iterative Hard Thresholding for Compressed Sensing", 2009.
      Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2018.
    """

    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True
    solid: ClassVar[bool] = True
    permutation_invariant: ClassVar[bool] = True
    matroid: ClassVar[bool] = True
    warm_start: ClassVar[int] = 2
    # A share of a whole tensor, as pruning means it: units may differ in how many weights they need.
    grouping: ClassVar[str] = "tensor"

    sparsity: Any = hyperparameter(0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bits = numerics.magnitude_bits(x)
        k = num_nonzeros(self.value("sparsity"), x.shape[0])
        stays = tf.math.count_nonzero(bits, axis=0, dtype=tf.int32) <= k
        return tf.where(stays | top_k_mask(bits, k), x, tf.zeros_like(x))

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return tf.where(numerics.finite_groups(w), self._project(w, w.dtype), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        used = tf.math.count_nonzero(numerics.magnitude_bits(w), axis=0, dtype=tf.int32)
        return used >= num_nonzeros(self.value("sparsity"), w.shape[0])
