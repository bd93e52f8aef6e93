"""Matrices that stretch nothing by more than a bound."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from ..numerics import svd
from ._spectral import Bounded, Matrix, singular_values


@dataclasses.dataclass(frozen=True, eq=False)
class Spectral(Bounded):
    """Kernels of spectral norm at most `max_value`: argmin_P ||P - W||_F over { P : ||P x|| <= c ||x|| for all x }.

    The nearest point of `W = U diag(s) V^T` is `U diag(min(s, c)) V^T`: singular values above c become c, and the
    others and all singular vectors stay. Spectral normalization, which divides W by its norm, would shrink them all.
    Convex, unique. A layer without bias then multiplies distances by at most c. Of a convolution the kernel as a matrix
    (fan-in x filters) is bounded, not the operator on images, whose norm may be larger by up to the root of the number
    of taps.

    One decomposition, O(size units^2), unless the eighth powers of the singular values sum to at most c^8, which two
    products tell. After rounding to the weights' type the norm is still at most c: the singular values that were above
    end a few roundings below it.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero matrix is left.

    References:
      Yoshida and Miyato, "Spectral Norm Regularization for Improving the Generalizability of Deep Learning", 2017.
      Sedghi, Gupta and Long, "The Singular Values of Convolutional Layers", 2019.
    """

    max_value: Any = hyperparameter(1.0, "Largest singular value of a kernel.", above=0.0)

    def certainly_feasible(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        return svd.spectral_bound(matrix.z) <= self.bound(matrix)

    def is_feasible(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return s[:, 0] <= self.bound(matrix) * (1.0 + matrix.slack)

    def project_spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        bound = tf.nn.relu(self.bound(matrix) - room)[:, tf.newaxis]
        return tf.minimum(s, bound), s <= bound

    def perturbation(self, error: tf.Tensor) -> tf.Tensor:
        return svd.spectral_bound(error)

    def worst(self, frobenius: tf.Tensor, short: int) -> tf.Tensor:
        return frobenius

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_max(singular_values(x), axis=1)

    def spectrum_on_boundary(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return s[:, 0] >= self.bound(matrix) * (1.0 - 1e-6)

    def bound(self, matrix: Matrix) -> tf.Tensor:
        """c on the scale of `matrix.z`: float64 [groups]."""
        return matrix.scaled(self.value("max_value"))
