"""Adapts per-unit sets to the matrix layout so that both kinds can be intersected."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import tensorflow as tf

from ..base import Constraint
from ..sets._matrix import MatrixSet


class Stage(Protocol):
    """A projection in a canonical layout, as `Constraint` defines it."""

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor: ...

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor: ...


@dataclasses.dataclass(frozen=True)
class PerUnit:
    """A set of units' weights, applied to each column of the layout [groups, size, units] of matrix sets.

    Attributes:
      member: the set, in the layout [size, groups].
    """

    member: Constraint

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return _matrices(self.member._project(_columns(x), dtype), x)

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return _matrices(self.member._vjp(_columns(x), _columns(upstream), dtype), x)

    def _project_in_dtype(self, w: tf.Tensor) -> tf.Tensor:
        return _matrices(self.member._project_in_dtype(_columns(w)), w)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The largest norm of a group's units: [groups, size, units] -> [groups]."""
        norms = self.member.column_norms(_columns(x), dtype)
        return tf.reduce_max(tf.pad(tf.reshape(norms, [x.shape[0], x.shape[2]]), [[0, 0], [1, 0]]), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        """Whether any of a group's units is on it: [groups, size, units] -> [groups]."""
        return tf.reduce_any(tf.reshape(self.member.on_boundary(_columns(w)), [w.shape[0], w.shape[2]]), axis=1)


def placed(member: Constraint, mixed: bool) -> Constraint | PerUnit:
    """The set in the layout of the intersection: that of matrix sets if there are any, else columns."""
    return PerUnit(member) if mixed and not isinstance(member, MatrixSet) else member


def flatten_groups(x: tf.Tensor) -> tf.Tensor:
    """Either canonical layout -> [weights, groups], each group's weights in one column."""
    if x.shape.rank == 2:
        return x
    groups, size, units = x.shape
    return tf.transpose(tf.reshape(x, [groups, size * units]))


def broadcast_over_groups(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """[groups] -> a shape that broadcasts over x, in either layout."""
    return values if x.shape.rank == 2 else values[:, tf.newaxis, tf.newaxis]


def _columns(x: tf.Tensor) -> tf.Tensor:
    groups, size, units = x.shape
    return tf.reshape(tf.transpose(x, [1, 0, 2]), [size, groups * units])


def _matrices(columns: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    groups, size, units = like.shape
    return tf.transpose(tf.reshape(columns, [size, groups, units]), [1, 0, 2])
