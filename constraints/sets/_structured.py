"""Structured sparsity: matrices of which whole units or blocks are zero."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..layout import Columns, Matrices
from ..numerics.top_k import exact_square_sums, num_nonzeros, top_k_mask, transposed
from ._matrix import MatrixSet


@dataclasses.dataclass(frozen=True, eq=False)
class StructuredSparsity(MatrixSet):
    """A matrix's parts, all of one size, of which at least a share `sparsity` is zero.

    The nearest point keeps the k = n - round(sparsity n) parts of the largest l2 norms, bit for bit, and sets the rest
    to 0. A subclass says what a part is.
    """

    convex: ClassVar[bool] = False

    sparsity: Any

    def parts(self, w: tf.Tensor) -> tf.Tensor:
        """[groups, size, units] -> [groups, weights of a part, parts]."""
        raise NotImplementedError(f"{type(self).__name__} must define `parts`.")

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        """[groups, parts] -> what broadcasts to the `shape` [groups, size, units]: each part's mark at its weights."""
        raise NotImplementedError(f"{type(self).__name__} must define `spread`.")

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(self._kept(x), x, tf.zeros_like(x))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(self._kept(x), upstream, tf.zeros_like(upstream))

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return self._project(w, w.dtype)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l2(self.flatten_groups(x), dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        parts = self.parts(w)
        return _non_zero(parts) >= self.num_kept(parts)

    def _kept(self, w: tf.Tensor) -> tf.Tensor:
        """Which weights are kept: bool, broadcasts to the shape of `w`."""
        parts = self.parts(w)
        k = self.num_kept(parts)
        as_is = (_non_zero(parts) <= k) | ~numerics.finite_groups(self.flatten_groups(w))
        chosen = tf.cond(
            tf.reduce_all(as_is),
            lambda: tf.zeros([parts.shape[0], parts.shape[2]], tf.bool),
            lambda: transposed(top_k_mask(transposed(exact_square_sums(parts)), k)),
        )
        return self.spread(as_is[:, tf.newaxis] | chosen, w.shape)

    def num_kept(self, parts: tf.Tensor) -> tf.Tensor:
        """How many parts of a group are kept: [groups, weights of a part, parts] -> int32 scalar."""
        return num_nonzeros(self.value("sparsity"), parts.shape[2])


def _non_zero(parts: tf.Tensor) -> tf.Tensor:
    """How many parts are not zero: [groups, weights of a part, parts] -> int32 [groups]."""
    some = tf.reduce_any(numerics.magnitude_bits(parts) > 0, axis=1)
    return tf.math.count_nonzero(some, axis=1, dtype=tf.int32)


def check_tiles(layout: Columns, rows: int, columns: int) -> None:
    """Checks that blocks tile the kernel.

    Raises:
      ValueError: they do not, or it is no kernel of rank 2 to 4.
    """
    assert isinstance(layout, Matrices)
    given = f"block={rows},{columns}"
    if not 2 <= len(layout.shape) - len(layout.each) <= 4:
        raise ValueError(f"{given} needs a kernel of rank 2 to 4, not weights of shape {layout.shape}.")
    if layout.size % rows or layout.units % columns:
        raise ValueError(
            f"{given} does not divide weights of shape {layout.shape}, a matrix of {layout.size} incoming weights by "
            f"{layout.units} units; give rows of {_divisors(layout.size)} and columns of {_divisors(layout.units)}."
        )


def spread_tiles(marks: tf.Tensor, shape: tf.TensorShape, rows: int, columns: int) -> tf.Tensor:
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
