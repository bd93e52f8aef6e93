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
    """Groups of few non-zeros whose magnitudes sum to at most `max_value`: the points of `l1ball` that are in `topk`.

    The nearest point of x keeps the k = n - round(sparsity n) largest magnitudes and projects them onto the ball. Not
    convex; of equal magnitudes the first is kept. A group that obeys both stays. O(n).

    Why the largest: on a support S the nearest point is P(x_S), the projection onto the ball, and its squared distance
    from x is ||x||^2 - g(x_S) with the gain g(y) = ||y||^2 - ||y - P(y)||^2. The gradient of g is 2 P(y), which has the
    signs of y, so g never falls when a magnitude grows: a member of S exchanged for a larger weight never adds to the
    distance.

    Attributes:
      max_value: bound on the sum, above 0; a schedule may reach 0.
      sparsity: share of zeros, in [0, 1).

    References:
      Kyrillidis, Becker, Cevher and Koch, "Sparse projections onto the simplex", 2013.
    """

    convex: ClassVar[bool] = False
    carried: ClassVar[int] = TopK.carried + L1Ball.carried

    sparsity: Any = hyperparameter(
        0.5, "Share of a group's weights that are zero.", minimum=0.0, below=1.0, kw_only=True
    )

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return super().project(self._sparse.project(x, dtype), dtype)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        sparse = self._sparse.project(x, dtype)
        return self._sparse.pullback(x, super().pullback(sparse, upstream, dtype), dtype)

    def nearest_from(self, w: tf.Tensor, carried: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sparse, selecting = self._sparse.nearest_from(w, carried[: TopK.carried])
        p, shrinking = L1Ball(self.max_value).nearest_from(sparse, carried[TopK.carried :])
        return p, tf.concat([selecting, shrinking], axis=0)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return super().on_boundary(w) | self._sparse.on_boundary(w)

    @property
    def _sparse(self) -> TopK:
        return TopK(self.sparsity)
