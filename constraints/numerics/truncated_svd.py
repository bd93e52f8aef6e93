"""The leading singular triplets of large matrices, by subspace iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from .. import numerics
from . import svd

# Columns beyond those that are wanted, which make the iteration converge by the gap to a later singular value.
SPARE = 8
_MAX_STEPS = 6
# Matrices from whose shorter side on the decomposition costs more than trying without.
_LARGE = 256


class SingularTriplets(NamedTuple):
    """Approximate leading singular triplets: z V = U diag(s), with orthonormal columns.

    Attributes:
      s: float64 [groups, count], descending.
      u: float64 [groups, tall, count].
      v: float64 [groups, short, count].
      residual: float64 [groups, count], norms of the columns of z^T U - V diag(s), which are zero for exact triplets.
    """

    s: tf.Tensor
    u: tf.Tensor
    v: tf.Tensor
    residual: tf.Tensor

    def reconstruct(self, f: tf.Tensor) -> tf.Tensor:
        """U diag(f) V^T: float64 [groups, count] -> [groups, tall, short]."""
        return tf.matmul(self.u * f[:, tf.newaxis, :], self.v, transpose_b=True)


def worthwhile(w: tf.Tensor, count: int) -> bool:
    """Whether so few singular values of matrices [groups, size, units] are cheaper than all, and can be had at all."""
    short = min(w.shape[1:])
    return w.dtype == tf.float32 and not numerics.in_xla() and short >= _LARGE and 8 * (count + SPARE) <= short


def leading(
    z: tf.Tensor, count: int, convergence_test: Callable[[SingularTriplets], tuple[tf.Tensor, tf.Tensor]]
) -> tuple[SingularTriplets, tf.Tensor]:
    """Subspace iteration from a fixed start, until the triplets converge, cannot converge, or take too long.

    Args:
      z: float64 [groups, tall, short].
      count: how many triplets to carry along.
      convergence_test: which groups have converged and which may converge: bool [groups] each.

    Returns:
      The triplets; bool [groups], which are good enough.

    References:
      Halko, Martinsson and Tropp, "Finding Structure with Randomness: Probabilistic Algorithms for Constructing
      Approximate Matrix Decompositions", 2011.
    """

    def step(steps: tf.Tensor, q: tf.Tensor, *_: tf.Tensor) -> tuple[tf.Tensor, ...]:
        s, u, turn = tf.linalg.svd(tf.matmul(z, q))
        v = tf.matmul(q, turn)
        back = tf.matmul(z, u, transpose_a=True)
        residual = tf.norm(back - v * s[:, tf.newaxis, :], axis=1)
        good, may_converge = convergence_test(SingularTriplets(s, u, v, residual))
        return steps + 1, tf.linalg.qr(back)[0], s, u, v, residual, good, may_converge

    def unfinished(steps: tf.Tensor, *state: tf.Tensor) -> tf.Tensor:
        good, may_converge = state[-2:]
        # A group that cannot converge after two steps never will.
        return ~tf.reduce_all(good) & (steps < _MAX_STEPS) & (tf.reduce_all(good | may_converge) | (steps < 2))

    start = tf.random.stateless_normal([z.shape[0], z.shape[2], count], seed=[0, 0])
    narrow = tf.cast(z, tf.float32)  # Which is precise enough to begin with.
    start = tf.linalg.qr(tf.matmul(narrow, tf.matmul(narrow, start), transpose_a=True))[0]
    start = tf.linalg.qr(tf.cast(tf.matmul(narrow, tf.matmul(narrow, start), transpose_a=True), z.dtype))[0]
    _, _, s, u, v, residual, good, _ = tf.while_loop(unfinished, step, step(tf.constant(0), start))
    return SingularTriplets(s, u, v, residual), good


def quick_spectral_bound(x: tf.Tensor) -> tf.Tensor:
    """`svd.spectral_bound` by products in float32, with all that their rounding may have taken away added.

    Args:
      x: float64 [groups, size, units], finite.

    Returns:
      float64 [groups].
    """
    largest = tf.reduce_max(tf.abs(x), axis=[1, 2], keepdims=True)
    y = tf.cast(tf.math.divide_no_nan(x, largest), tf.float32)

    def norm(x: tf.Tensor) -> tf.Tensor:
        return svd.frobenius(tf.cast(x, tf.float64))

    gram = tf.matmul(y, y, transpose_a=True)
    # Relative errors of sums of so many float32 products.
    first, second = ((terms + 2) * 2.0**-24 for terms in (x.shape[1], x.shape[2]))
    lost = first * tf.square(norm(y))
    exact = norm(gram) + lost
    fourth = norm(tf.matmul(gram, gram)) + 2.0 * lost * exact + second * tf.square(exact)
    rounded = 2.0**-23 * norm(y)
    return largest[:, 0, 0] * ((1.0 + 1e-9) * tf.sqrt(tf.sqrt(fourth)) + rounded)
