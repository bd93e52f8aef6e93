"""N:M sparsity."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..hyperparameters import hyperparameter
from ._windows import WindowSet


@dataclasses.dataclass(frozen=True, eq=False)
class NM(WindowSet):
    """Groups with few non-zeros in each window: argmin_p ||p - x|| over { p : at most n non-zeros in m weights }.

    The nearest point keeps the n largest magnitudes of each window of m consecutive inputs and sets the rest to 0. Not
    convex; of equal magnitudes the first is kept. A window with n non-zeros or fewer stays. A scheduled value is
    rounded to the nearest whole number, halves to even. `along` says how windows lie. O(n_weights m).

    Attributes:
      n: non-zeros in a window, from 1 to m, at every step if either is a schedule.
      m: weights in a window.

    References:
      Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
      Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", 2021.
    """

    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True
    solid: ClassVar[bool] = True
    matroid: ClassVar[bool] = True

    n: Any = hyperparameter(2, "Most non-zeros in each window of m weights.", minimum=1, integer=True, kw_only=True)
    m: Any = hyperparameter(4, "Consecutive incoming weights in a window.", minimum=1, integer=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("n", "m", consequence="no window has room for its non-zeros")

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(self.rank(numerics.magnitude_bits(x)) < self.whole("n"), x, tf.zeros_like(x))

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return tf.where(numerics.finite_groups(w), self._project(w, w.dtype), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        bits = numerics.magnitude_bits(w)
        # The smallest non-zero of a full window has n - 1 larger ones.
        return tf.reduce_any((self.rank(bits) >= self.whole("n") - 1) & (bits > 0), axis=0)
