"""Matrices of low rank."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics import svd
from ..numerics.truncated_svd import SPARE, Leading, leading, worthwhile
from ._spectral import Matrix, Singular

# Error of the nearest point that is left to singular values taken alone, relative to the last that is kept.
_PRECISE = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class LowRank(Singular):
    """Kernels of rank at most `rank`: products of a matrix with k columns and one with k rows.

    The nearest point of `W = U diag(s) V^T` keeps the k largest singular values and sets the rest to 0. Not convex; of
    equal singular values, whose directions are any, those are kept that the first units have a large part in (where
    there are more units than weights in one, the first weights): of the identity, the first k columns. Where k is at
    least the smaller of fan-in and units, every kernel is feasible and nothing happens.

    A matrix of rank k has all the rank there is once its entries are rounded, with singular values at the level of that
    rounding. So a kernel counts as feasible, and stays, where the rest of its singular values (root of the sum of
    squares, the distance to the set) is at most half a unit in the last place of its Frobenius norm, which no rounding
    exceeds. One decomposition, O(size units^2); for large float32 kernels the k singular values alone, O(size units k),
    where it can be told that they are the largest and apart from the rest, see `constraints.numerics.truncated_svd`.

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

    def surely(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        return tf.fill([matrix.z.shape[0]], self._kept() >= min(matrix.shape))

    def inside(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        rest = tf.sqrt(tf.reduce_sum(tf.square(tf.where(self._largest(s), tf.zeros_like(s), s)), axis=1))
        return rest <= _level(matrix, dtype)

    def spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        kept = tf.broadcast_to(self._largest(s), s.shape)
        return tf.where(kept, s, 0.0), kept

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if not isinstance(self.rank, numbers.Integral) or not worthwhile(w, int(self.rank)):
            return super().nearest(w)
        matrix = Matrix.of(tf.cast(w, tf.float64))
        some, good = _leading(matrix.z, int(self.rank))
        p = some.joined(tf.where(self._largest(some.s), some.s, 0.0))

        def moved() -> tf.Tensor:
            stays = ~matrix.finite | (svd.frobenius(matrix.z - p) <= _level(matrix, w.dtype))
            r = numerics.nearest(matrix.unit * matrix.turned(p), w.dtype)
            return tf.where(self.apart(stays), w, tf.where(tf.equal(r, 0.0), tf.zeros_like(r), r))

        exactly = numerics.rarely(lambda: super(LowRank, self).nearest(w))
        return tf.cond(tf.reduce_all(good | ~matrix.finite), moved, exactly)

    def joined(
        self, matrix: Matrix, s: tf.Tensor, u: tf.Tensor, v: tf.Tensor, f: tf.Tensor, slope: tf.Tensor
    ) -> tf.Tensor:
        plain = super().joined(matrix, s, u, v, f, slope)
        last = tf.reduce_min(tf.where(slope, s, tf.reduce_max(s)), axis=1, keepdims=True)
        equal = tf.abs(s - last) <= matrix.slack * s[:, :1]
        tied = tf.reduce_any(equal & ~slope, axis=1)

        def chosen() -> tf.Tensor:
            room = tf.math.count_nonzero(equal & slope, axis=1, dtype=tf.int32)
            above = _span(v, slope & ~equal) + _first_directions(_span(v, equal), tf.where(tied, room, 0))
            return tf.where(self.apart(tied), tf.matmul(matrix.z, above), plain)

        return tf.cond(tf.reduce_any(tied), chosen, lambda: plain)

    def touches(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        level = _level(matrix, dtype)[:, tf.newaxis]
        return tf.math.count_nonzero(s > level, axis=1, dtype=tf.int32) >= self._kept()

    def tolerance(self, dtype: tf.DType) -> float:
        return numerics.epsilon(dtype) + super().tolerance(dtype)

    def _kept(self) -> tf.Tensor:
        return tf.cast(tf.round(self.value("rank")), tf.int32)

    def _largest(self, s: tf.Tensor) -> tf.Tensor:
        """bool [1, short]."""
        return tf.range(s.shape[1])[tf.newaxis] < self._kept()


def _leading(z: tf.Tensor, rank: int) -> tuple[Leading, tf.Tensor]:
    """The leading triplets, good where they are sure to be those: float64 [groups, tall, short].

    By Weyl's inequality singular value k + 1 of z is at most that of its projection on the subspace plus the Frobenius
    norm of the rest. Where that leaves a gap behind singular value k, the residual over the gap bounds the error of the
    singular spaces (Wedin, "Perturbation Bounds in Connection with Singular Value Decomposition", 1972).
    """
    whole = tf.reduce_sum(tf.square(z), axis=[1, 2])

    def judge(some: Leading) -> tuple[tf.Tensor, tf.Tensor]:
        rest = whole - tf.reduce_sum(tf.square(some.s), axis=1)
        last = some.s[:, rank - 1]
        gap = last - some.s[:, rank] - tf.sqrt(tf.nn.relu(rest) + 1e-12 * whole)
        residual = tf.norm(some.residual[:, :rank], axis=1)
        return (gap > 0.0) & (residual * some.s[:, 0] <= _PRECISE * gap * last), gap > 0.0

    return leading(z, rank + SPARE, judge)


def _level(matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
    """How far rounding can bring a matrix from the set: float64 [groups], on the scale of `matrix.z`."""
    half = 0.5 * numerics.epsilon(dtype)
    size, units = matrix.shape
    absolute = matrix.scaled(tf.constant(numerics.quantum(dtype) * (size * units) ** 0.5, tf.float64))
    return (half * (1.0 + 4.0 * half) + matrix.slack) * svd.frobenius(matrix.z) + absolute


def _span(v: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """The projection on the space of some columns: [groups, n, n] and bool [groups, n] -> [groups, n, n]."""
    return tf.matmul(tf.where(chosen[:, tf.newaxis, :], v, 0.0), v, transpose_b=True)


def _first_directions(space: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """The projection on so many directions of a space, taken along the first coordinates that have a part in it.

    Args:
      space: float64 [groups, n, n], the projection on the space.
      room: int32 [groups], at most its dimension.

    Returns:
      float64 [groups, n, n].
    """

    def take(room: tf.Tensor, left: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        direction = tf.linalg.matvec(left, svd.first_of_large(tf.linalg.diag_part(left)))
        direction = tf.math.l2_normalize(direction, axis=1, epsilon=0.0)
        direction = tf.where(room[:, tf.newaxis] > 0, direction, 0.0)
        piece = direction[:, :, tf.newaxis] * direction[:, tf.newaxis, :]
        return room - 1, left - piece, taken + piece

    return tf.while_loop(lambda room, *_: tf.reduce_any(room > 0), take, (room, space, tf.zeros_like(space)))[2]
