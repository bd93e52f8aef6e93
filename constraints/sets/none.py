"""No constraint."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow as tf

from ..base import Constraint


@dataclasses.dataclass(frozen=True, eq=False)
class Unconstrained(Constraint):
    """All weights: the whole space, where every point is its own nearest.

    For a baseline, whose norms and zeros are then measured like those of a constrained run.
    """

    cone: ClassVar[bool] = True
    solid: ClassVar[bool] = True
    permutation_invariant: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return x

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return w

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        return tf.zeros([w.shape[1]], tf.bool)
