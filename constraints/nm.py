"""N:M sparsity."""

from __future__ import annotations

import dataclasses
import numbers
from typing import Any, ClassVar

import tensorflow as tf

from constraints import numerics
from constraints.base import Constraint
from constraints.fields import hyperparameter
from constraints.passes import column_totals, compiled

# Comparisons of every two weights of a window that are written out.
_WIDEST = 16


@dataclasses.dataclass(frozen=True, eq=False)
class NM(Constraint):
    """Groups with at most `n` non-zeros in each window of `m` consecutive weights: n:m sparsity.

    The nearest point of x keeps the n largest magnitudes of each window and sets the rest to 0. Not convex; of equal
    magnitudes the first is kept. Windows follow the group's weights in row-major order, the fan-in; if m does not
    divide their number, the last window is shorter and takes n non-zeros like any other. A window with n non-zeros or
    fewer stays. A scheduled value is rounded to the nearest whole number, halves to even. Each weight is compared with
    the others of its window by its bits: O(n_weights m).

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
    selects: ClassVar[bool] = True
    # Windows follow one kernel's fan-in.
    groupings: ClassVar[tuple[str, ...]] = ("unit", "tensor", "head", "gate", "row")

    n: Any = hyperparameter(2, "Most non-zeros in each window of m weights.", minimum=1, integer=True, kw_only=True)
    m: Any = hyperparameter(4, "Consecutive incoming weights in a window.", minimum=1, integer=True, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("n", "m", consequence="no window has room for its non-zeros")

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bits = numerics.magnitude_bits(x)
        return tf.where(self._larger(bits) < self._whole("n"), x, numerics.zeros_of(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if numerics.many(w) and isinstance(self.m, numbers.Integral) and self.m <= _WIDEST:
            return _largest_of_windows(w, self._whole("n"), int(self.m))
        return tf.where(numerics.finite_groups(w), self.project(w, w.dtype), w)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        bits = numerics.magnitude_bits(w)
        # The smallest non-zero of a full window has n - 1 larger ones.
        return tf.reduce_any((self._larger(bits) >= self._whole("n") - 1) & (bits > 0), axis=0)

    def _larger(self, bits: tf.Tensor) -> tf.Tensor:
        """How many of its window are larger than each weight, or as large and before it.

        Args:
          bits: non-negative integers [size, groups].

        Returns:
          int32 [size, groups].
        """
        size, window = bits.shape[0], self._whole("m")
        place = tf.range(size)[:, tf.newaxis]

        def compare(apart: tf.Tensor, larger: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            same_window = (place % window + apart < window) & (place + apart < size)
            met = tf.cast(same_window, tf.int32)
            won = tf.cast(bits >= tf.roll(bits, -apart, axis=0), tf.int32) * met
            return apart + 1, larger + (met - won) + tf.roll(won, apart, axis=0)

        start = tf.constant(1), tf.zeros(bits.shape, tf.int32)
        return tf.while_loop(lambda apart, _: apart < tf.minimum(window, size), compare, start)[1]

    def _whole(self, name: str) -> tf.Tensor:
        return tf.cast(tf.round(self.value(name)), tf.int32)


@compiled
def _largest_of_windows(w: tf.Tensor, n: tf.Tensor, m: int) -> tf.Tensor:
    """Keeps the `n` largest magnitudes of each `m` consecutive weights of columns that are finite: float32, as w."""
    size, groups = w.shape
    (infinite,) = column_totals(lambda rows: (~tf.math.is_finite(rows),))(w)
    padded = tf.pad(w, [[0, -size % m], [0, 0]])
    windows = tf.reshape(padded, [-1, m, groups])
    places = [windows[:, place] for place in range(m)]
    bits = [numerics.magnitude_bits(place) for place in places]

    def larger(place: int) -> tf.Tensor:
        before = [tf.cast(other >= bits[place], tf.int32) for other in bits[:place]]
        behind = [tf.cast(other > bits[place], tf.int32) for other in bits[place + 1 :]]
        return sum(before + behind, tf.zeros_like(bits[place]))

    kept = [
        tf.where((larger(place) < n) | (infinite > 0.0), weights, numerics.zeros_of(weights))
        for place, weights in enumerate(places)
    ]
    return tf.reshape(tf.stack(kept, axis=1), [-1, groups])[:size]
