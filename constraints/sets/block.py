"""Block-sparse kernels."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from ..hyperparameters import hyperparameter, option
from ..layout import Columns, Matrices
from ..numerics.reductions import compiled
from ._structured import SparseParts


@dataclasses.dataclass(frozen=True, eq=False)
class Block(SparseParts):
    """Kernels with at least a share `sparsity` of zero blocks: at most k non-zero blocks of n, k = n - round(s n).

    The kernel is a matrix of fan-in (row-major) by units, cut into blocks of `block` rows and columns. The nearest
    point keeps the k blocks of the largest Frobenius norm, bit for bit, and sets all weights of the others to 0. Not
    convex; of blocks of equal norm the first is kept, row-major over blocks, and blocks that differ by signs or by the
    order of their weights are equal (so are those whose squared norms agree to some 2^-48). A kernel with k non-zero
    blocks or fewer stays. round takes halves to even. O(size of the kernel), and a selection among n.

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
        """Checks that blocks tile the kernel.

        Raises:
          ValueError: they do not, or it is no kernel of rank 2 to 4.
        """
        assert isinstance(layout, Matrices)
        rows, columns = self.block
        given = f"block={rows},{columns}"
        if not 2 <= len(layout.shape) - len(layout.each) <= 4:
            raise ValueError(f"{given} needs a kernel of rank 2 to 4, not weights of shape {layout.shape}.")
        if layout.size % rows or layout.units % columns:
            raise ValueError(
                f"{given} does not divide weights of shape {layout.shape}, a matrix of {layout.size} incoming weights "
                f"by {layout.units} units; give rows of {_divisors(layout.size)} and columns of "
                f"{_divisors(layout.units)}."
            )

    def parts(self, w: tf.Tensor) -> tf.Tensor:
        groups, size, units = w.shape
        rows, columns = self.block
        tiles = tf.reshape(w, [groups, size // rows, rows, units // columns, columns])
        tiles = tf.transpose(tiles, [0, 2, 4, 1, 3])
        return tf.reshape(tiles, [groups, rows * columns, (size // rows) * (units // columns)])

    def squares(self, w: tf.Tensor) -> tf.Tensor:
        return _block_squares(w, *self.block)

    def chosen(self, w: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
        return _chosen(w, marks, *self.block)

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        return _spread(marks, shape, *self.block)


@compiled
def _block_squares(w: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Sum of squares of each block: float32 [groups, size, units] -> float64 [groups, blocks], row-major."""
    groups, size, units = w.shape
    # Rows of a block first, which only adds whole rows of the kernel.
    tall = tf.reshape(tf.square(tf.cast(w, tf.float64)), [groups, size // rows, rows, units])
    wide = tf.reshape(tf.reduce_sum(tall, axis=2), [groups, size // rows, units // columns, columns])
    return tf.reshape(tf.reduce_sum(wide, axis=3), [groups, -1])


@compiled
def _chosen(w: tf.Tensor, marks: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    return tf.where(_spread(marks, w.shape, rows, columns), w, tf.zeros_like(w))


def _spread(marks: tf.Tensor, shape: tf.TensorShape, rows: int, columns: int) -> tf.Tensor:
    """Each block's mark at its weights: [groups, blocks] -> `shape`, [groups, size, units]."""
    groups, size, units = shape
    tiles = tf.reshape(marks, [groups, size // rows, 1, units // columns, 1])
    tiles = tf.broadcast_to(tiles, [groups, size // rows, rows, units // columns, columns])
    return tf.reshape(tiles, [groups, size, units])


def _divisors(number: int) -> str:
    """Its divisors, for a message; any whole number where it is 0."""
    if not number:
        return "1, 2, 3, ..."
    return ", ".join(str(divisor) for divisor in range(1, number + 1) if number % divisor == 0)
