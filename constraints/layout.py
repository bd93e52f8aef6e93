"""Weights as columns or as matrices: the two layouts that every formula is written for."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Columns:
    """Lays a tensor out as [size, groups], one group a column, and back.

    By default a group is a unit's fan-in, all axes but the last; the layout is then a reshape that copies nothing.

    Attributes:
      shape: shape of the tensor.
      axes: increasing axes along which the weights of one group lie.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @classmethod
    def of(cls, shape: tf.TensorShape, axes: int | tuple[int, ...] | list[int] | None) -> Columns:
        """The layout of a tensor.

        Args:
          shape: static shape of the tensor.
          axes: axes that share one group, negative ones counted from the end; None for all but the last. A vector or a
            scalar is one group.

        Raises:
          ValueError: the shape is not static, or an axis is out of range or named twice.
        """
        if not shape.is_fully_defined():
            raise ValueError(f"Weights of shape {shape} cannot be projected; the shape must be known in advance.")
        rank = shape.rank
        if axes is None:
            return cls(tuple(shape), tuple(range(max(rank - 1, min(rank, 1)))))
        given = tuple(axes) if isinstance(axes, (tuple, list)) else (int(axes),)
        outside = [axis for axis in given if not -rank <= axis < rank]
        if outside:
            raise ValueError(
                f"axis={outside[0]} does not exist in weights of shape {tuple(shape)}; use {-rank} to {rank - 1}."
            )
        positive = sorted(axis % rank for axis in given)
        if len(set(positive)) < len(positive):
            raise ValueError(f"axes={given} name an axis of weights of shape {tuple(shape)} twice; name each once.")
        return cls(tuple(shape), tuple(positive))

    @property
    def size(self) -> int:
        """Weights in a group."""
        return math.prod(self.shape[axis] for axis in self.axes)

    @property
    def group_shape(self) -> tuple[int, ...]:
        """Shape of one number per group: the tensor's shape without `axes`."""
        return tuple(self.shape[axis] for axis in self._others)

    def columns(self, w: tf.Tensor) -> tf.Tensor:
        """Weights of `shape` -> [size, groups], row-major within a group."""
        if not self._in_order:
            w = tf.transpose(w, self._order)
        return _reshaped(w, (self.size, math.prod(self.group_shape)))

    def restore(self, x: tf.Tensor) -> tf.Tensor:
        """[size, groups] -> weights of `shape`."""
        if self._in_order:
            return _reshaped(x, self.shape)
        x = tf.reshape(x, [self.shape[axis] for axis in self._order])
        return tf.transpose(x, [self._order.index(axis) for axis in range(len(self.shape))])

    def per_group(self, values: tf.Tensor) -> tf.Tensor:
        """[groups] -> `group_shape`."""
        return _reshaped(values, self.group_shape)

    @property
    def _others(self) -> tuple[int, ...]:
        return tuple(axis for axis in range(len(self.shape)) if axis not in self.axes)

    @property
    def _order(self) -> tuple[int, ...]:
        return self.axes + self._others

    @property
    def _in_order(self) -> bool:
        return self._order == tuple(range(len(self.shape)))


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
        each_axes = Columns.of(shape, () if each is None else each).axes
        if axes is None:
            rest = [axis for axis in range(shape.rank or 0) if axis not in each_axes]
            axes = tuple(rest[: max(len(rest) - 1, min(len(rest), 1))])
        within = Columns.of(shape, axes)
        twice = set(within.axes) & set(each_axes)
        if twice:
            raise ValueError(f"axis {min(twice)} of weights of shape {tuple(shape)} is in both `axis` and `each`.")
        return cls(within.shape, within.axes, each_axes)

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


def checked_axis(axis: Any, name: str = "axis") -> int | tuple[int, ...] | None:
    """Checks a constructor's `axis` (or `each`): a whole number, several, or None.

    Raises:
      ValueError: it is something else.
    """
    if axis is None:
        return None
    several = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if any(isinstance(one, bool) or not isinstance(one, numbers.Integral) for one in several):
        raise ValueError(f"{name}={axis!r} must be a whole number, several of them, or None.")
    whole = tuple(int(one) for one in several)
    return whole if isinstance(axis, (tuple, list)) else whole[0]


def _reshaped(x: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """A reshape, or nothing where there is nothing to do: each operation costs a training step some microseconds."""
    return x if x.shape == shape else tf.reshape(x, shape)
