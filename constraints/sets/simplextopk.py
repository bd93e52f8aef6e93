"""Sparse vectors of the simplex."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics.simplex_threshold import near_simplex, onto_simplex
from ..numerics.top_k import num_nonzeros, top_k_mask
from .simplex import Simplex


@dataclasses.dataclass(frozen=True, eq=False)
class SimplexTopK(Simplex):
    """Sparse points of the simplex: argmin_p ||p - x|| over { p : p >= 0, sum p_i = total, at most k non-zeros }.

    The nearest point keeps the k = n - round(sparsity n) largest weights, by value, and projects them onto `simplex`;
    at least one is kept. Not convex; of equal weights the first is kept. A group that obeys both, its sum to within the
    rounding of its type, stays. O(n).

    Why the largest: on a support S the squared distance is ||x||^2 - g(x_S) with g(y) = ||y||^2 - ||y - P(y)||^2. Its
    gradient 2 P(y) is never negative, so g never falls when a weight grows.

    Attributes:
      total: the sum, above 0; a schedule may reach 0, where only the zero vector is left.
      sparsity: share of zeros, in [0, 1).

    References:
      Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", 2013.
    """

    convex: ClassVar[bool] = False
    warm_start: ClassVar[int] = 0

    sparsity: Any = hyperparameter(
        0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0, kw_only=True
    )

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total, k = self.value("total"), tf.maximum(num_nonzeros(self.value("sparsity"), x.shape[0]), 1)
        # Rank x itself: weights that differ may be equally far from the largest once that difference is rounded.
        ranked = numerics.without_subnormals(x) if dtype == tf.float64 else x
        sparse = tf.math.count_nonzero(x, axis=0, dtype=tf.int32) <= k
        stays = (near_simplex(x, total, dtype) & sparse) | ~tf.math.is_finite(tf.reduce_sum(x, axis=0))
        # No weight that lies `total` below the largest is in the support.
        z = tf.where(top_k_mask(numerics.in_order(ranked), k), x - tf.reduce_max(x, axis=0), -total)
        return tf.where(stays, x, onto_simplex(z, total, ~stays))
