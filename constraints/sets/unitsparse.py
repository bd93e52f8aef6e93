"""Kernels with few units."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from ._structured import StructuredSparsity


@dataclasses.dataclass(frozen=True, eq=False)
class UnitSparse(StructuredSparsity):
    """Kernels with a share `sparsity` of zero units: argmin_p ||p - x|| over { p : at most k non-zero units }.

    The nearest point keeps the k = n - round(sparsity n) units of the largest l2 norm and sets all weights of the
    others to 0. Not convex; of units of equal norm the first is kept. Units that differ by signs or by the order of
    their weights are equal, as are those whose squared norms agree to some 2^-48. A kernel with k non-zero units or
    fewer stays. round takes halves to even. The grouping says what a unit is: a unit, a filter, a head, a gate or a
    row. O(size of the kernel), and a selection among n.

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

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        return marks[:, tf.newaxis, :]
