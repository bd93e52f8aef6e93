"""Block-sparse kernels."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from ..hyperparameters import hyperparameter, option
from ..layout import Columns
from ._structured import StructuredSparsity, check_tiles, spread_tiles


@dataclasses.dataclass(frozen=True, eq=False)
class Block(StructuredSparsity):
    """Kernels with a share `sparsity` of zero blocks: argmin_p ||p - x|| over { p : at most k non-zero blocks }.

    The kernel is a matrix of fan-in (row-major) by units, cut into n blocks of `block` rows and columns. The nearest
    point keeps the k = n - round(sparsity n) blocks of the largest Frobenius norm. Ties and order are those of
    `unitsparse`, row-major over blocks. O(size of the kernel), and a selection among n.

    Attributes:
      sparsity: share of zero blocks, in [0, 1).
      block: rows and columns of a block, fan-in by units; they divide the kernel's.

    References:
      Gray, Radford and Kingma, "GPU Kernels for Block-Sparse Weights", 2017.
    """

    matrices: ClassVar[bool] = True
    # Blocks follow one kernel's fan-in and units.
    groupings: ClassVar[tuple[str, ...]] = ("unit",)

    sparsity: Any = hyperparameter(0.5, "Share of a kernel's blocks that are zero.", minimum=0.0, below=1.0)
    block: tuple[int, int] = option((4, 4), "Rows and columns of a block: incoming weights by units.")

    def check_layout(self, layout: Columns) -> None:
        check_tiles(layout, *self.block)

    def parts(self, w: tf.Tensor) -> tf.Tensor:
        groups, size, units = w.shape
        rows, columns = self.block
        tiles = tf.reshape(w, [groups, size // rows, rows, units // columns, columns])
        return tf.reshape(tf.transpose(tiles, [0, 2, 4, 1, 3]), [groups, rows * columns, -1])

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        return spread_tiles(marks, shape, *self.block)
