"""Sparse vectors of the l1 ball."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from ..hyperparameters import hyperparameter
from .l1ball import L1Ball
from .topk import TopK


@dataclasses.dataclass(frozen=True, eq=False)
class L1TopK(L1Ball):
    """Sparse groups of small l1 norm: argmin_p ||p - x|| over { p : sum |p_i| <= max_value, at most k non-zeros }.

    The nearest point keeps the k = n - round(sparsity n) largest magnitudes and projects them onto `l1ball`. Not
    convex; of equal magnitudes the first is kept. A group that obeys both stays. O(n).

    Why the largest: on a support S the squared distance is ||x||^2 - g(x_S) with g(y) = ||y||^2 - ||y - P(y)||^2. Its
    gradient 2 P(y) has the signs of y, so g never falls when a magnitude grows.

    Attributes:
      max_value: bound on the sum, above 0; a schedule may reach 0.
      sparsity: share of zeros, in [0, 1).

    References:
      Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", 2013.
    """

    convex: ClassVar[bool] = False
    warm_start: ClassVar[int] = TopK.warm_start + L1Ball.warm_start

    sparsity: Any = hyperparameter(
        0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0, kw_only=True
    )

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return super()._project(self.sparse._project(x, dtype), dtype)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        sparse = self.sparse._project(x, dtype)
        return self.sparse._vjp(x, super()._vjp(sparse, upstream, dtype), dtype)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return L1Ball(self.max_value)._project_reference(self.sparse._project_reference(w))

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return super().on_boundary(w) | self.sparse.on_boundary(w)

    @property
    def sparse(self) -> TopK:
        """The set of sparse groups alone."""
        return TopK(self.sparsity)
