"""Matrices with orthonormal columns."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from .. import numerics
from ..layout import Columns, Matrices
from ..numerics import svd
from ._spectral import Matrix, SpectralSet


@dataclasses.dataclass(frozen=True, eq=False)
class Orthogonal(SpectralSet):
    """Kernels whose units are orthonormal: argmin_P ||P - W||_F over the Stiefel manifold { P : P^T P = I }.

    The nearest point of `W = U diag(s) V^T` is `U V^T`, its polar factor. Not convex; unique where W has full rank.
    Otherwise the missing directions pair the first unit and the first weight that have a large part in them; a zero
    matrix becomes the first columns of the identity. A kernel stays where `||W^T W - I||_F` is at most one unit in the
    last place times the root of the number of units. One decomposition, O(size units^2).

    References:
      Higham, "Computing the Polar Decomposition - with Applications", 1986.
      Bansal, Chen and Wang, "Can We Gain More from Orthogonality Regularizations in Training Deep CNNs?", 2018.
    """

    convex: ClassVar[bool] = False
    thin: ClassVar[bool] = True

    def check_layout(self, layout: Columns) -> None:
        assert isinstance(layout, Matrices)
        if layout.size < layout.units and 0 not in layout.shape:
            raise ValueError(
                f"Weights of shape {layout.shape} make matrices of {layout.size} rows and {layout.units} columns, and "
                f"{layout.units} columns of {layout.size} numbers cannot be orthonormal; let the rows be, by giving "
                f"`axis` the axes of the columns (for a matrix, axis=1), split the matrix by `each` or --group, or "
                "leave such kernels out by --variables."
            )

    def certainly_feasible(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        w = matrix.unit * matrix.z
        units = matrix.shape[1]
        error = svd.frobenius(tf.matmul(w, w, transpose_a=True) - tf.eye(units, dtype=w.dtype))
        half = 0.5 * numerics.epsilon(dtype)
        level = half * (1.0 + 4.0 * half) + matrix.slack + numerics.quantum(dtype) * matrix.shape[0] ** 0.5
        return error <= level * (2.0 + level) * units**0.5

    def is_feasible(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.certainly_feasible(matrix, dtype)

    def project_spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        one = matrix.scaled(tf.ones([], s.dtype))[:, tf.newaxis]
        return tf.where(s > matrix.slack * s[:, :1], one, 0.0), tf.zeros_like(s, tf.bool)

    def reconstruct(
        self, matrix: Matrix, s: tf.Tensor, u: tf.Tensor, v: tf.Tensor, f: tf.Tensor, slope: tf.Tensor
    ) -> tf.Tensor:
        reached = f > 0.0
        q = tf.matmul(tf.where(reached[:, tf.newaxis, :], u, 0.0), v, transpose_b=True)
        return _completed(q, tf.math.count_nonzero(~reached, axis=1, dtype=tf.int32)) / tf.abs(matrix.unit)

    def spectrum_on_boundary(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.ones([s.shape[0]], tf.bool)

    def tolerance(self, dtype: tf.DType) -> float:
        return super().tolerance(dtype) - numerics.epsilon(dtype)  # Only one rounding.


def _completed(q: tf.Tensor, missing: tf.Tensor) -> tf.Tensor:
    """Makes the columns of U V^T, float64 [groups, size, units], orthonormal where `missing` directions lack."""

    def add(missing: tf.Tensor, q: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        row = _outside(q, svd.first_of_large(1.0 - tf.reduce_sum(tf.square(q), axis=2)))
        column = _outside(tf.transpose(q, [0, 2, 1]), svd.first_of_large(1.0 - tf.reduce_sum(tf.square(q), axis=1)))
        piece = row[:, :, tf.newaxis] * column[:, tf.newaxis, :]
        return missing - 1, q + tf.where(missing[:, tf.newaxis, tf.newaxis] > 0, piece, 0.0)

    return tf.while_loop(lambda missing, _: tf.reduce_any(missing > 0), add, (missing, q))[1]


def _outside(q: tf.Tensor, direction: tf.Tensor) -> tf.Tensor:
    """The unit vector along the part of a direction outside the range of q: [groups, size] and [groups, size, n]."""
    for _ in range(2):  # What the first pass leaves by rounding, the second removes.
        direction = direction - tf.linalg.matvec(q, tf.linalg.matvec(q, direction, transpose_a=True))
        direction = tf.math.divide_no_nan(direction, tf.norm(direction, axis=1, keepdims=True))
    return direction
