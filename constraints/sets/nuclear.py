"""Matrices of small nuclear norm."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from ..hyperparameters import hyperparameter
from ..numerics import simplex_threshold, svd
from ._spectral import Bounded, Matrix, singular_values


@dataclasses.dataclass(frozen=True, eq=False)
class Nuclear(Bounded):
    """Kernels whose singular values sum to at most `max_value`: argmin_P ||P - W||_F over { P : sum s_i(P) <= c }.

    The nearest point of `W = U diag(s) V^T` is `U diag(max(s - t, 0)) V^T` where t makes the sum c; singular values
    below t become 0, up to the rounding of the weights. Convex, unique. The ball is the convex hull of c times the
    matrices of rank 1 and norm 1, so its boundary tends to be of low rank, as that of the l1 ball tends to be sparse.

    One decomposition, O(size units^2), unless the root of the number of singular values times the Frobenius norm, which
    bounds their sum, is at most c. After rounding to the weights' type the sum is still at most c. It may end below c
    by the root of that number times half a unit in the last place, because rounding gives a matrix full rank.

    Attributes:
      max_value: c above 0; a schedule may reach 0, where only the zero matrix is left.

    References:
      Fazel, Hindi and Boyd, "A Rank Minimization Heuristic with Application to Minimum Order System Approximation",
      2001.
      Cai, Candes and Shen, "A Singular Value Thresholding Algorithm for Matrix Completion", 2010.
    """

    max_value: Any = hyperparameter(10.0, "Largest sum of a kernel's singular values.", above=0.0)

    def certainly_feasible(self, matrix: Matrix, dtype: tf.DType) -> tf.Tensor:
        return self.perturbation(matrix.z) <= self.bound(matrix)

    def is_feasible(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(s, axis=1) <= self.bound(matrix) * (1.0 + matrix.slack)

    def project_spectrum(self, matrix: Matrix, s: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        total = tf.nn.relu(self.bound(matrix) - room)
        outside = tf.reduce_sum(s, axis=1) > total
        shrunk = tf.transpose(simplex_threshold.onto_simplex(tf.transpose(s), total, outside))
        f = tf.where(outside[:, tf.newaxis], shrunk, s)
        return f, (f > 0.0) | ~outside[:, tf.newaxis]

    def spectrum_jvp(self, diagonal: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
        signs = tf.transpose(tf.cast(slope, diagonal.dtype))
        return tf.transpose(simplex_threshold.simplex_vjp(tf.transpose(diagonal), signs))

    def perturbation(self, error: tf.Tensor) -> tf.Tensor:
        return (1.0 + 1e-12) * self.worst(svd.frobenius(error), error.shape[2])

    def worst(self, frobenius: tf.Tensor, short: int) -> tf.Tensor:
        return short**0.5 * frobenius

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(singular_values(x), axis=1)

    def spectrum_on_boundary(self, matrix: Matrix, s: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_sum(s, axis=1) >= self.bound(matrix) * (1.0 - 1e-6)

    def bound(self, matrix: Matrix) -> tf.Tensor:
        """c on the scale of `matrix.z`: float64 [groups]."""
        return matrix.scaled(self.value("max_value"))
