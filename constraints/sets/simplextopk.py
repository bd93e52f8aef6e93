"""Sparse vectors of the simplex."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ..numerics import simplex_threshold
from ..numerics.top_k import kept, largest
from .simplex import Simplex


@dataclasses.dataclass(frozen=True, eq=False)
class SimplexTopK(Simplex):
    """Groups of few non-zeros, none negative, that sum to `total`: the points of `simplex` that are in `topk`.

    The nearest point of x keeps the k = n - round(sparsity n) largest weights, by value and not by magnitude, and
    projects them onto the simplex; at least one is kept, as zeros alone sum to nothing. Not convex; of equal weights
    the first is kept. A group that obeys both, its sum to within the rounding of its type, stays. O(n).

    Why the largest: on a support S the nearest point is P(x_S), the projection onto the simplex, and its squared
    distance from x is ||x||^2 - g(x_S) with the gain g(y) = ||y||^2 - ||y - P(y)||^2. The gradient of g is 2 P(y),
    which is never negative, so g never falls when a weight grows: a member of S exchanged for a larger weight never
    adds to the distance.

    Attributes:
      total: the sum, above 0; a schedule may reach 0, where only the zero vector is left.
      sparsity: share of zeros, in [0, 1).

    References:
      Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", 2013.
    """

    convex: ClassVar[bool] = False
    carried: ClassVar[int] = 0

    sparsity: Any = hyperparameter(
        0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0, kw_only=True
    )

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        total = self.value("total")
        z = x - tf.reduce_max(x, axis=0)
        # Of x, as weights that differ may be equally far from the largest once that is rounded. Subnormals are zeros,
        # as a cast has made those of narrower types.
        ranked = numerics.without_subnormals(x, tf.constant(True)) if dtype == tf.float64 else x
        chosen = largest(numerics.in_order(ranked), self._kept(x.shape[0]))
        few = tf.math.count_nonzero(x, axis=0, dtype=tf.int32) <= self._kept(x.shape[0])
        stays = (self.on_simplex(x, dtype) & few) | ~tf.math.is_finite(tf.reduce_sum(x, axis=0))
        # No weight that lies so far below the largest is in the support.
        return tf.where(stays, x, simplex_threshold.onto_simplex(tf.where(chosen, z, -total), total, ~stays))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        p = self.by_formula(w)
        # In float64 subnormals were zero already; those beyond k must be so in the weights' own type.
        beyond = ~largest(numerics.magnitude_bits(p), self._kept(w.shape[0]))
        return numerics.without_subnormals(p, beyond & numerics.finite_groups(p))

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.nearest(w), carried

    def _kept(self, size: int) -> tf.Tensor:
        return tf.maximum(kept(self.value("sparsity"), size), 1)
