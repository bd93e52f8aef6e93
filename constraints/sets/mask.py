"""Weights that stay zero where a pattern says so."""

from __future__ import annotations

import dataclasses
from typing import Any, Self

import tensorflow as tf

from .. import numerics
from ..layout import Columns
from ._pattern import PatternSet


@dataclasses.dataclass(frozen=True, eq=False)
class Mask(PatternSet):
    """Weights that are zero outside a pattern: argmin_p ||p - x|| over { p : p_i = 0 where not pattern_i }.

    The nearest point is x with these weights set to 0, weight by weight. Convex, unique. A masked weight becomes 0.0
    whatever it was, NaN and inf too; NaN and inf elsewhere stay in their own weight. O(n), no rounding.

    Attributes:
      pattern: bool, of the weights' own shape, an array, a tensor or a variable: True where a weight may be non-zero.
        None: the zeros of the weights themselves, so that it changes nothing by itself. An array is compared by its
        values, a tensor or a variable is equal to itself only.

    References:
      Han, Pool, Tran and Dally, "Learning both Weights and Connections for Efficient Neural Networks", 2015.
      Frankle and Carbin, "The Lottery Ticket Hypothesis: Finding Sparse, Trainable Neural Networks", 2019.
    """

    @classmethod
    def of(cls, w: Any, axis: int | tuple[int, ...] | None = None) -> Self:
        """The mask that keeps the zeros of these weights.

        Args:
          w: floating-point weights; a subnormal is not zero.
          axis: axes whose weights share one group.
        """
        pattern = numerics.nonzero(tf.convert_to_tensor(w))
        return cls(pattern.numpy() if hasattr(pattern, "numpy") else pattern, axis=axis)

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return x if self.pattern is None else tf.where(self.pattern, x, tf.zeros_like(x))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self._project(upstream, dtype)

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return self._project(w, w.dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        pattern = numerics.nonzero(w) if self.pattern is None else self.pattern
        return tf.reduce_any(~pattern, axis=0)

    def for_layout(self, layout: Columns) -> Self:
        if self.pattern is None:
            return self
        return dataclasses.replace(self, pattern=layout.columns(tf.convert_to_tensor(self.pattern)))
