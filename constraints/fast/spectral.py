"""The spectral ball by the few singular values above the bound, see `numerics.truncated_svd`."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics import svd
from ..numerics.truncated_svd import SPARE, SingularTriplets, leading, quick_spectral_bound, worthwhile
from ..sets._spectral import Matrix
from ..sets.spectral import Spectral

# How many singular values may be above the bound, and how precise they must be relative to it.
COUNT = 8
PRECISION = 1e-10


def project(spectral: Spectral, w: tf.Tensor) -> tf.Tensor | None:
    """Lowers the singular values above the bound; up to 1e-10 of the bound from the nearest point before rounding."""
    if not worthwhile(w, COUNT):
        return None
    matrix = Matrix.of(tf.cast(w, tf.float64))
    bound = spectral.bound(matrix)
    some, good = _above(matrix.z, bound)
    rest = matrix.z - some.reconstruct(tf.where(some.s > bound[:, tf.newaxis], some.s, 0.0))
    # The rest must be below the bound; mostly even its Frobenius norm is.
    close = bound * (1.0 - 2.0 * PRECISION)
    known = tf.cond(
        tf.reduce_all(svd.frobenius(rest) <= close),
        lambda: good,
        lambda: good & (quick_spectral_bound(rest) <= close),
    )

    def lowered() -> tf.Tensor:
        def point(room: tf.Tensor) -> tf.Tensor:
            f = tf.nn.relu(some.s - tf.nn.relu(close - room)[:, tf.newaxis])
            return matrix.unit * matrix.transposed(matrix.z - some.reconstruct(f))

        r = spectral.round_inside(matrix, point, w.dtype, svd.frobenius)
        stays = ~matrix.finite | (some.s[:, 0] <= bound * (1.0 + matrix.slack))
        return tf.where(spectral.broadcast_over_groups(stays), w, tf.where(tf.equal(r, 0.0), tf.zeros_like(r), r))

    exactly = numerics.outlined(lambda: spectral._project_reference(w))
    return tf.cond(tf.reduce_all(known | ~matrix.finite), lowered, exactly)


def _above(z: tf.Tensor, bound: tf.Tensor) -> tuple[SingularTriplets, tf.Tensor]:
    """Leading triplets, good where those above the bound are exact for a matrix within `PRECISION` bounds of z.

    Projecting that matrix instead of z moves the nearest point by no more, because the set is convex.

    Args:
      z: float64 [groups, tall, short].
      bound: float64 [groups].

    Returns:
      As `constraints.numerics.truncated_svd.leading`.
    """

    def convergence_test(some: SingularTriplets) -> tuple[tf.Tensor, tf.Tensor]:
        above = some.s > bound[:, tf.newaxis]
        residual = tf.norm(tf.where(above, some.residual, 0.0), axis=1)
        # If even the last is above, there may be more.
        few = some.s[:, -1] < bound
        return few & (residual <= PRECISION * bound), few

    return leading(z, COUNT + SPARE, convergence_test)
