"""Kernels as matrices: the layout of sets that hold for all units of a kernel together."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import tensorflow as tf

from constraints.columns import Columns


@dataclasses.dataclass(frozen=True)
class Matrices(Columns):
    """Lays a tensor out as [groups, size, units], one unit's weights a column of its group's matrix, and back.

    Attributes:
      shape: shape of the tensor.
      axes: increasing axes along which the weights of one unit lie.
      each: increasing axes whose places have a matrix of their own, as attention heads may.
    """

    each: tuple[int, ...] = ()

    @classmethod
    def of(cls, shape: tf.TensorShape, axes: Any, each: Any = None) -> Matrices:
        """The layout of a tensor.

        Args:
          shape: static shape of the tensor.
          axes: axes along which one unit's weights lie; None for all but the last and `each`.
          each: axes whose places have a matrix of their own; None for one matrix.

        Raises:
          ValueError: the shape is not static, or an axis is out of range or named twice.
        """
        apart = Columns.of(shape, () if each is None else each).axes
        if axes is None:
            rest = [axis for axis in range(shape.rank or 0) if axis not in apart]
            axes = tuple(rest[: max(len(rest) - 1, min(len(rest), 1))])
        within = Columns.of(shape, axes)
        twice = set(within.axes) & set(apart)
        if twice:
            raise ValueError(f"axis {min(twice)} of weights of shape {tuple(shape)} is in both `axis` and `each`.")
        return cls(within.shape, within.axes, apart)

    @property
    def units(self) -> int:
        """Units of a group."""
        return math.prod(self.shape[axis] for axis in self._unit_axes)

    @property
    def group_shape(self) -> tuple[int, ...]:
        return tuple(self.shape[axis] for axis in self.each)

    def columns(self, w: tf.Tensor) -> tf.Tensor:
        """Weights of `shape` -> [groups, size, units], row-major within a unit."""
        if not self._in_order:
            w = tf.transpose(w, self._order)
        return tf.reshape(w, [math.prod(self.group_shape), self.size, self.units])

    @property
    def _unit_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes and axis not in self.each)

    @property
    def _order(self) -> tuple[int, ...]:
        return self.each + self.axes + self._unit_axes
