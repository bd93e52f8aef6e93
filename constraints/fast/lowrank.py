"""Low rank by the leading singular values alone, see `numerics.truncated_svd`."""

from __future__ import annotations

import numbers

import tensorflow as tf

from .. import numerics
from ..numerics import svd
from ..numerics.truncated_svd import SPARE, SingularTriplets, leading, worthwhile
from ..sets._spectral import Matrix
from ..sets.lowrank import LowRank, rounding_level

# Error of the nearest point relative to the last singular value that is kept.
PRECISION = 1e-10


def project(lowrank: LowRank, w: tf.Tensor) -> tf.Tensor | None:
    """Keeps the leading singular triplets where a gap behind them shows that they are the largest."""
    if not isinstance(lowrank.rank, numbers.Integral) or not worthwhile(w, int(lowrank.rank)):
        return None
    matrix = Matrix.of(tf.cast(w, tf.float64))
    some, good = _leading(matrix.z, int(lowrank.rank))
    p = some.reconstruct(tf.where(lowrank.leading(some.s), some.s, 0.0))

    def truncated() -> tf.Tensor:
        stays = ~matrix.finite | (svd.frobenius(matrix.z - p) <= rounding_level(matrix, w.dtype))
        r = numerics.nearest(matrix.unit * matrix.transposed(p), w.dtype)
        return tf.where(lowrank.broadcast_over_groups(stays), w, tf.where(tf.equal(r, 0.0), tf.zeros_like(r), r))

    exactly = numerics.outlined(lambda: lowrank._project_reference(w))
    return tf.cond(tf.reduce_all(good | ~matrix.finite), truncated, exactly)


def _leading(z: tf.Tensor, rank: int) -> tuple[SingularTriplets, tf.Tensor]:
    """The leading triplets, good where they are certainly those: float64 [groups, tall, short].

    By Weyl's inequality singular value k + 1 of z is at most that of its projection on the subspace plus the Frobenius
    norm of the rest. Where that leaves a gap behind singular value k, the residual over the gap bounds the error of the
    singular spaces (Wedin, "Perturbation Bounds in Connection with Singular Value Decomposition", 1972).
    """
    whole = tf.reduce_sum(tf.square(z), axis=[1, 2])

    def convergence_test(some: SingularTriplets) -> tuple[tf.Tensor, tf.Tensor]:
        rest = whole - tf.reduce_sum(tf.square(some.s), axis=1)
        last = some.s[:, rank - 1]
        gap = last - some.s[:, rank] - tf.sqrt(tf.nn.relu(rest) + 1e-12 * whole)
        residual = tf.norm(some.residual[:, :rank], axis=1)
        return (gap > 0.0) & (residual * some.s[:, 0] <= PRECISION * gap * last), gap > 0.0

    return leading(z, rank + SPARE, convergence_test)
