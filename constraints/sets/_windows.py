"""Windows of consecutive inputs, in which weights are ranked."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Self

import tensorflow as tf

from ..base import Constraint
from ..layout import Columns, checked_axis


@dataclasses.dataclass(frozen=True, eq=False)
class WindowSet(Constraint):
    """A set that looks at each window of `m` consecutive inputs alone.

    Windows run along one axis, the inputs of a unit. A window holds weights of one unit, and of a convolution those of
    one tap (position in the kernel), whatever the groups are. If m does not divide the number of inputs, the last
    window is shorter, as if zeros filled it up. Libraries that prune for sparse tensor cores do the same; the cores
    take kernels whose input channels m divides.

    Attributes:
      along: axis along which windows run, one of the group's. None: the last axis of the fan-in, which is the last but
        one where a group is all but the last axis or the whole tensor, and else the last that `axis` names. A group
        that has the last axis and some others, as `axis=(0, 1, 3)` of a transposed convolution, needs `along`.
      rows: how the rows of the canonical layout follow each other: (before, along, after) the axis of the windows. None
        where all rows are inputs of one tap.
    """

    # Windows follow one kernel's fan-in, which the weights that leave one input do not have.
    groupings: ClassVar[tuple[str, ...]] = ("unit", "tensor", "head", "gate")

    along: int | None = dataclasses.field(default=None, kw_only=True)
    rows: tuple[int, int, int] | None = dataclasses.field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
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

    def for_layout(self, layout: Columns) -> Self:
        place = self._place(layout)
        if place is None:
            return self
        sizes = [layout.shape[axis] for axis in layout.axes]
        return dataclasses.replace(self, rows=(math.prod(sizes[:place]), sizes[place], math.prod(sizes[place + 1 :])))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "along": self.along}

    def rank(self, bits: tf.Tensor) -> tf.Tensor:
        """How many weights of its window are larger than each weight, or as large and before it.

        Args:
          bits: non-negative integers [size, groups].

        Returns:
          int32 [size, groups].
        """
        before, run, after = self.runs(bits)
        groups = bits.shape[1]
        runs = tf.reshape(bits, [before, run, after * groups])
        if before != 1:
            runs = tf.transpose(runs, [1, 0, 2])
        larger = self._rank_in_columns(tf.reshape(runs, [run, before * after * groups]))
        if before != 1:
            larger = tf.transpose(tf.reshape(larger, [run, before, after * groups]), [1, 0, 2])
        return tf.reshape(larger, bits.shape)

    def runs(self, x: tf.Tensor) -> tuple[int, int, int]:
        """`rows` of a tensor [size, groups]."""
        return self.rows or (1, x.shape[0], 1)

    def whole(self, name: str) -> tf.Tensor:
        """A hyperparameter as a whole number: int32 scalar."""
        return tf.cast(tf.round(self.value(name)), tf.int32)

    def _rank_in_columns(self, bits: tf.Tensor) -> tf.Tensor:
        """`rank` of columns that are one row of windows each."""
        size, window = bits.shape[0], self.whole("m")
        place = tf.range(size)[:, tf.newaxis]

        def compare(offset: tf.Tensor, larger: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            same_window = (place % window + offset < window) & (place + offset < size)
            met = tf.cast(same_window, tf.int32)
            won = tf.cast(bits >= tf.roll(bits, -offset, axis=0), tf.int32) * met
            return offset + 1, larger + (met - won) + tf.roll(won, offset, axis=0)

        start = tf.constant(1), tf.zeros(bits.shape, tf.int32)
        return tf.while_loop(lambda offset, _: offset < tf.minimum(window, size), compare, start)[1]

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
