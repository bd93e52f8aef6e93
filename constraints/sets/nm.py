"""N:M sparsity."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ..layout import Columns, checked_axis
from ..numerics.reductions import column_totals, compiled

# Comparisons of every two weights of a window that are written out.
_WIDEST = 16


@dataclasses.dataclass(frozen=True, eq=False)
class NM(Constraint):
    """Groups with at most `n` non-zeros in each window of `m` consecutive inputs: n:m sparsity.

    The nearest point of x keeps the n largest magnitudes of each window and sets the rest to 0. Not convex; of equal
    magnitudes the first is kept. A window with n non-zeros or fewer stays. A scheduled value is rounded to the nearest
    whole number, halves to even. Each weight is compared with the others of its window by its bits: O(n_weights m).

    Windows run along one axis, the inputs of a unit; a window holds weights of one unit, and of a convolution those of
    one tap (position in the kernel), whatever the groups are. If m does not divide the number of inputs, the last
    window is shorter and may keep n like any other, as if zeros filled it up. So do libraries that prune for sparse
    tensor cores; the cores themselves take kernels whose input channels m divides.

    Attributes:
      n: non-zeros in a window, from 1 to m, at every step if either is a schedule.
      m: weights in a window.
      along: axis along which windows run, one of the group's. None: the last axis of the fan-in, which is the last but
        one where a group is all but the last axis or the whole tensor, and else the last that `axis` names. A group
        that has the last axis and some others, as `axis=(0, 1, 3)` of a transposed convolution, needs `along`.

    References:
      Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021.
      Zhou et al., "Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch", 2021.
    """

    convex: ClassVar[bool] = False
    cone: ClassVar[bool] = True
    solid: ClassVar[bool] = True
    selects: ClassVar[bool] = True
    # Windows follow one kernel's fan-in, which the weights that leave one input do not have.
    groupings: ClassVar[tuple[str, ...]] = ("unit", "tensor", "head", "gate")

    n: Any = hyperparameter(2, "Most non-zeros in each window of m weights.", minimum=1, integer=True, kw_only=True)
    m: Any = hyperparameter(4, "Consecutive incoming weights in a window.", minimum=1, integer=True, kw_only=True)

    along: int | None = dataclasses.field(default=None, kw_only=True)
    # How the rows of the canonical layout follow each other: (before, along, after) the axis of the windows. None: all
    # rows are inputs of one tap.
    rows: tuple[int, int, int] | None = dataclasses.field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("n", "m", consequence="no window has room for its non-zeros")
        checked = checked_axis(self.along, "along")
        if isinstance(checked, tuple):
            raise ValueError(f"along={self.along!r} must be one axis, or None for the last of the fan-in.")
        object.__setattr__(self, "along", checked)

    def check_layout(self, layout: Columns) -> None:
        """Checks that each group has the axis of the windows.

        Raises:
          ValueError: it has not, or `along` has to say which axis that is.
        """
        self._place(layout)

    def laid_out(self, layout: Columns) -> NM:
        place = self._place(layout)
        if place is None:
            return self
        sizes = [layout.shape[axis] for axis in layout.axes]
        return dataclasses.replace(self, rows=(math.prod(sizes[:place]), sizes[place], math.prod(sizes[place + 1 :])))

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        bits = numerics.magnitude_bits(x)
        return tf.where(self._larger(bits) < self._whole("n"), x, numerics.zeros_of(x))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if numerics.many(w) and isinstance(self.m, numbers.Integral) and self.m <= _WIDEST:
            return _largest_of_windows(w, self._whole("n"), int(self.m), self._rows(w))
        return tf.where(numerics.finite_groups(w), self.project(w, w.dtype), w)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "along": self.along}

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
        before, run, after = self._rows(bits)
        groups = bits.shape[1]
        runs = tf.reshape(bits, [before, run, after * groups])
        if before != 1:
            runs = tf.transpose(runs, [1, 0, 2])
        larger = self._larger_in_columns(tf.reshape(runs, [run, before * after * groups]))
        if before != 1:
            larger = tf.transpose(tf.reshape(larger, [run, before, after * groups]), [1, 0, 2])
        return tf.reshape(larger, bits.shape)

    def _larger_in_columns(self, bits: tf.Tensor) -> tf.Tensor:
        """`_larger` of columns that are one row of windows each."""
        size, window = bits.shape[0], self._whole("m")
        place = tf.range(size)[:, tf.newaxis]

        def compare(apart: tf.Tensor, larger: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            same_window = (place % window + apart < window) & (place + apart < size)
            met = tf.cast(same_window, tf.int32)
            won = tf.cast(bits >= tf.roll(bits, -apart, axis=0), tf.int32) * met
            return apart + 1, larger + (met - won) + tf.roll(won, apart, axis=0)

        start = tf.constant(1), tf.zeros(bits.shape, tf.int32)
        return tf.while_loop(lambda apart, _: apart < tf.minimum(window, size), compare, start)[1]

    def _rows(self, x: tf.Tensor) -> tuple[int, int, int]:
        return self.rows or (1, x.shape[0], 1)

    def _place(self, layout: Columns) -> int | None:
        """Which of the group's axes the windows run along; None for a group of one weight."""
        rank, axes = len(layout.shape), layout.axes
        if self.along is not None:
            along = self.along % rank if -rank <= self.along < rank else None
            if along not in axes:
                raise ValueError(
                    f"along={self.along} is no axis of a group of weights of shape {layout.shape}, whose axes are "
                    f"{axes}; windows run along one of these."
                )
            return axes.index(along)
        if len(axes) > 1 and len(axes) == rank:
            return rank - 2
        if len(axes) > 1 and axes[-1] == rank - 1:
            raise ValueError(
                f"A group of weights of shape {layout.shape} has the axes {axes}; say along which of them the inputs "
                f"lie, as with along={axes[-1]} for a transposed convolution."
            )
        return len(axes) - 1 if axes else None

    def _key(self) -> tuple:
        return *super()._key(), self.along, self.rows

    def _whole(self, name: str) -> tf.Tensor:
        return tf.cast(tf.round(self.value(name)), tf.int32)


@compiled
def _largest_of_windows(w: tf.Tensor, n: tf.Tensor, m: int, rows: tuple[int, int, int]) -> tf.Tensor:
    """Keeps the `n` largest magnitudes of each `m` consecutive weights of columns that are finite: float32, as w."""
    size, groups = w.shape
    before, run, after = rows
    (infinite,) = column_totals(lambda rows: (~tf.math.is_finite(rows),))(w)
    stays = tf.tile(infinite > 0.0, [after])
    padded = tf.pad(tf.reshape(w, [before, run, after * groups]), [[0, 0], [0, -run % m], [0, 0]])
    windows = tf.reshape(padded, [-1, m, after * groups])
    places = [windows[:, place] for place in range(m)]
    bits = [numerics.magnitude_bits(place) for place in places]

    def larger(place: int) -> tf.Tensor:
        ahead = [tf.cast(other >= bits[place], tf.int32) for other in bits[:place]]
        behind = [tf.cast(other > bits[place], tf.int32) for other in bits[place + 1 :]]
        return sum(ahead + behind, tf.zeros_like(bits[place]))

    kept = [
        tf.where((larger(place) < n) | stays, weights, numerics.zeros_of(weights))
        for place, weights in enumerate(places)
    ]
    whole = tf.reshape(tf.stack(kept, axis=1), padded.shape)
    return tf.reshape(whole[:, :run], [size, groups])
