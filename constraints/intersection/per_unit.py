"""Sets of units' weights and sets of whole matrices in one layout, so that they can be met together."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import tensorflow as tf

from ..base import Constraint
from ..sets._matrix import Joint


class Stage(Protocol):
    """A projection in a canonical layout, as `Constraint` defines it."""

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor: ...

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor: ...


@dataclasses.dataclass(frozen=True)
class PerUnit:
    """A set of units' weights, applied to each column of the layout [groups, size, units] of `Joint` sets.

    Attributes:
      part: the set, in the layout [size, groups].
    """

    part: Constraint

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return _matrices(self.part.project(_columns(x), dtype), x)

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return _matrices(self.part.pullback(_columns(x), _columns(upstream), dtype), x)

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        return _matrices(self.part.nearest(_columns(w)), w)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """The largest norm of a group's units: [groups, size, units] -> [groups]."""
        norms = self.part.column_norms(_columns(x), dtype)
        return tf.reduce_max(tf.pad(tf.reshape(norms, [x.shape[0], x.shape[2]]), [[0, 0], [1, 0]]), axis=1)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        """Whether any of a group's units is on it: [groups, size, units] -> [groups]."""
        return tf.reduce_any(tf.reshape(self.part.on_boundary(_columns(w)), [w.shape[0], w.shape[2]]), axis=1)


def placed(part: Constraint, mixed: bool) -> Constraint | PerUnit:
    """The set in the layout of the intersection: that of `Joint` sets if there are any, else columns."""
    return PerUnit(part) if mixed and not isinstance(part, Joint) else part


def together(x: tf.Tensor) -> tf.Tensor:
    """Either canonical layout -> [weights, groups], each group's weights in one column."""
    if x.shape.rank == 2:
        return x
    groups, size, units = x.shape
    return tf.transpose(tf.reshape(x, [groups, size * units]))


def apart(values: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
    """[groups] -> a shape that broadcasts over x, in either layout."""
    return values if x.shape.rank == 2 else values[:, tf.newaxis, tf.newaxis]


def _columns(x: tf.Tensor) -> tf.Tensor:
    groups, size, units = x.shape
    return tf.reshape(tf.transpose(x, [1, 0, 2]), [size, groups * units])


def _matrices(columns: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    groups, size, units = like.shape
    return tf.transpose(tf.reshape(columns, [size, groups, units]), [1, 0, 2])
