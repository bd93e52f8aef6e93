"""Matrices that stretch nothing by more than a bound."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics import svd
from ..numerics.truncated_svd import SPARE, Leading, leading, quick_spectral_bound, worthwhile
from ._spectral import Bounded, Matrix, singular_values

# How many singular values may be above the bound for them to be taken alone, and how precisely, relative to it.
_COUNT = 8
_PRECISE = 1e-10


@dataclasses.dataclass(frozen=True, eq=False)
class Spectral(Bounded):
    """Kernels of spectral norm at most `max_value`: { W : ||W x|| <= c ||x|| for all x }.

    The nearest point of `W = U diag(s) V^T` is `U diag(min(s, c)) V^T`: singular values above c become c, and the rest,
    and all singular vectors, stay; dividing W by its norm, as spectral normalization does, would shrink them all.
    Convex, unique. A layer of units without bias multiplies distances by at most c then. Of a convolution it is the
    kernel as a matrix (fan-in x filters) that is bounded, not the operator on images, whose norm may be larger, up to
    the root of the number of taps times it.

    One decomposition, O(size units^2), unless the eighth powers of the singular values sum to at most c^8, which two
    products tell, or few singular values of a large float32 kernel are above c, which are then taken alone (see
    `numerics.truncated_svd`; up to 1e-10 c from the nearest point, before rounding). After rounding to the weights'
    type the norm is still at most c: the singular values that were above end a few roundings below it.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero matrix is left.

    References:
      Yoshida and Miyato, "Spectral Norm Regularization for Improving the Generalizability of Deep Learning", 2017.
      Sedghi, Gupta and Long, "The Singular Values of Convolutional Layers", 2019.
    """

    max_value: Any = hyperparameter(1.0, "Largest singular value of a kernel.", above=0.0)

    def surely(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        return svd.spectral_bound(matrix.z) <= self._bound(matrix)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if not worthwhile(w, _COUNT):
            return super().nearest(w)
        matrix = Matrix.of(tf.cast(w, tf.float64))
        bound = self._bound(matrix)
        some, good = _above(matrix.z, bound)
        rest = matrix.z - some.joined(tf.where(some.s > bound[:, tf.newaxis], some.s, 0.0))
        # All that is not among the triplets must be below the bound; mostly even its Frobenius norm is.
        close = bound * (1.0 - 2.0 * _PRECISE)
        known = tf.cond(
            tf.reduce_all(svd.frobenius(rest) <= close),
            lambda: good,
            lambda: good & (quick_spectral_bound(rest) <= close),
        )

        def moved() -> tf.Tensor:
            def point(room: tf.Tensor) -> tf.Tensor:
                f = tf.nn.relu(some.s - tf.nn.relu(close - room)[:, tf.newaxis])
                return matrix.unit * matrix.turned(matrix.z - some.joined(f))

            r = self.fitted(matrix, point, w.dtype, svd.frobenius)
            stays = ~matrix.finite | (some.s[:, 0] <= bound * (1.0 + matrix.slack))
            return tf.where(self.apart(stays), w, tf.where(tf.equal(r, 0.0), tf.zeros_like(r), r))

        exactly = numerics.rarely(lambda: super(Spectral, self).nearest(w))
        return tf.cond(tf.reduce_all(known | ~matrix.finite), moved, exactly)

    def inside(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return s[:, 0] <= self._bound(matrix) * (1.0 + matrix.slack)

    def spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bound = tf.nn.relu(self._bound(matrix) - room)[:, tf.newaxis]
        return tf.minimum(s, bound), s <= bound

    def perturbation(self, error: tf.Tensor) -> tf.Tensor:
        return svd.spectral_bound(error)

    def worst(self, frobenius: tf.Tensor, short: int) -> tf.Tensor:
        return frobenius

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_max(singular_values(x), axis=1)

    def touches(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return s[:, 0] >= self._bound(matrix) * (1.0 - 1e-6)

    def _bound(self, matrix: Matrix) -> tf.Tensor:
        return matrix.scaled(self.value("max_value"))


def _above(z: tf.Tensor, bound: tf.Tensor) -> tuple[Leading, tf.Tensor]:
    """Leading triplets, good where those above the bound are so precise that z moved by less would have them exactly.

    Then projecting the one instead of the other moves the nearest point by no more, as the set is convex.

    Args:
      z: float64 [groups, tall, short].
      bound: float64 [groups].

    Returns:
      As `constraints.numerics.truncated_svd.leading`.
    """

    def judge(some: Leading) -> tuple[tf.Tensor, tf.Tensor]:
        above = some.s > bound[:, tf.newaxis]
        residual = tf.norm(tf.where(above, some.residual, 0.0), axis=1)
        # If even the last is above, there may be more.
        few = some.s[:, -1] < bound
        return few & (residual <= _PRECISE * bound), few

    return leading(z, _COUNT + SPARE, judge)
