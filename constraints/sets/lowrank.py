"""Matrices of low rank."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics import svd
from ._spectral import Matrix, SpectralSet


@dataclasses.dataclass(frozen=True, eq=False)
class LowRank(SpectralSet):
    """Kernels of rank at most `rank`: argmin_P ||P - W||_F over { P : rank P <= k }.

    The nearest point of `W = U diag(s) V^T` keeps the k largest singular values and sets the rest to 0. Not convex. Of
    equal singular values, those are kept in which the first units have a large part (the first weights, if a unit has
    fewer weights than there are units): of the identity, the first k columns. Where k is at least the smaller of fan-in
    and units, every kernel is feasible.

    Rounding gives a matrix of rank k full rank, with singular values at the level of the rounding. So a kernel counts
    as feasible where the rest of its singular values (root of the sum of squares, the distance to the set) is at most
    half a unit in the last place of its Frobenius norm. One decomposition, O(size units^2).

    Attributes:
      rank: k, at least 1; a scheduled value is rounded to the nearest whole number, halves to even.

    References:
      Eckart and Young, "The approximation of one matrix by another of lower rank", 1936.
      Denton, Zaremba, Bruna, LeCun and Fergus, "Exploiting Linear Structure Within Convolutional Networks for Efficient
      Evaluation", 2014.
    """

    convex: ClassVar[bool] = False
    thin: ClassVar[bool] = True

    rank: Any = hyperparameter(8, "Largest rank of a kernel.", minimum=1, integer=True)

    def certainly_feasible(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        return tf.fill([matrix.z.shape[0]], self._kept() >= min(matrix.shape))

    def is_feasible(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        rest = tf.sqrt(tf.reduce_sum(tf.square(tf.where(self.leading(s), tf.zeros_like(s), s)), axis=1))
        return rest <= rounding_level(matrix, dtype)

    def project_spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept = tf.broadcast_to(self.leading(s), s.shape)
        return tf.where(kept, s, 0.0), kept

    def reconstruct(
        self, matrix: Matrix, s: tf.Tensor, u: tf.Tensor, v: tf.Tensor, f: tf.Tensor, slope: tf.Tensor
    ) -> tf.Tensor:
        plain = super().reconstruct(matrix, s, u, v, f, slope)
        last = tf.reduce_min(tf.where(slope, s, tf.reduce_max(s)), axis=1, keepdims=True)
        equal = tf.abs(s - last) <= matrix.slack * s[:, :1]
        tied = tf.reduce_any(equal & ~slope, axis=1)

        def chosen() -> tf.Tensor:
            room = tf.math.count_nonzero(equal & slope, axis=1, dtype=tf.int32)
            above = _span(v, slope & ~equal) + _first_directions(_span(v, equal), tf.where(tied, room, 0))
            return tf.where(self.broadcast_over_groups(tied), tf.matmul(matrix.z, above), plain)

        return tf.cond(tf.reduce_any(tied), chosen, lambda: plain)

    def spectrum_on_boundary(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        level = rounding_level(matrix, dtype)[:, tf.newaxis]
        return tf.math.count_nonzero(s > level, axis=1, dtype=tf.int32) >= self._kept()

    def tolerance(self, dtype: tf.DType) -> float:
        return super().tolerance(dtype) - numerics.epsilon(dtype)  # Only one rounding.

    def _kept(self) -> tf.Tensor:
        return tf.cast(tf.round(self.value("rank")), tf.int32)

    def leading(self, s: tf.Tensor) -> tf.Tensor:
        """Which of the singular values, descending, are kept: bool [1, short]."""
        return tf.range(s.shape[1])[tf.newaxis] < self._kept()


def rounding_level(matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
    """How far rounding can bring a matrix from the set: float64 [groups], on the scale of `matrix.z`."""
    half = 0.5 * numerics.epsilon(dtype)
    size, units = matrix.shape
    absolute = matrix.scaled(tf.constant(numerics.quantum(dtype) * (size * units) ** 0.5, tf.float64))
    return (half * (1.0 + 4.0 * half) + matrix.slack) * svd.frobenius(matrix.z) + absolute


def _span(v: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """The projection on the space of some columns: [groups, n, n] and bool [groups, n] -> [groups, n, n]."""
    return tf.matmul(tf.where(chosen[:, tf.newaxis, :], v, 0.0), v, transpose_b=True)


def _first_directions(space: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """The projection on `room` [groups] directions of a space, along the first coordinates that have a part in it.

    The space is given by its own projection: float64 [groups, n, n], as is the result.
    """

    def take(room: tf.Tensor, left: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        direction = tf.linalg.matvec(left, svd.first_of_large(tf.linalg.diag_part(left)))
        direction = tf.math.l2_normalize(direction, axis=1, epsilon=0.0)
        direction = tf.where(room[:, tf.newaxis] > 0, direction, 0.0)
        piece = direction[:, :, tf.newaxis] * direction[:, tf.newaxis, :]
        return room - 1, left - piece, taken + piece

    return tf.while_loop(lambda room, *_: tf.reduce_any(room > 0), take, (room, space, tf.zeros_like(space)))[2]
