"""Sets of matrices whose columns are units: budgets over units, and sets of linear maps."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..layout import Matrices, checked_axis


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixSet(Constraint):
    """A set of matrices whose columns are units; one matrix is one group.

    Its methods take the canonical layout [groups, size, units], and their results per group are [groups]. Without
    `each` the whole tensor is one group, and `distance`, `norm` and `active` are scalars. NaN or inf anywhere in a
    group leaves the whole group as it is.

    Attributes:
      matrices: whether a weight's place in its unit matters, so that units that read different inputs, as those of a
        grouped convolution do, make matrices of their own; else the set is a budget for all units of a kernel.
      axis: axes along which one unit's weights lie. None: all but the last and `each`, a unit's fan-in.
      each: axes whose places have a matrix of their own. None: one matrix.
    """

    matrices: ClassVar[bool] = False
    groupings: ClassVar[tuple[str, ...]] = ("unit", "network", "head", "gate", "row")

    each: int | tuple[int, ...] | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "each", checked_axis(self.each, "each"))

    def flatten_groups(self, x: tf.Tensor) -> tf.Tensor:
        groups, size, units = x.shape
        return tf.transpose(tf.reshape(x, [groups, size * units]))

    def broadcast_over_groups(self, values: tf.Tensor) -> tf.Tensor:
        return values[:, tf.newaxis, tf.newaxis]

    def num_groups(self, shape: tf.TensorShape) -> int:
        """How many groups weights of a shape have: units where they share a budget, else matrices."""
        matrices = super().num_groups(shape)
        return matrices if "tensor" in self.groupings else matrices * self._layout(shape, None).units

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "each": list(self.each) if isinstance(self.each, tuple) else self.each}

    def _key(self) -> tuple:
        return *super()._key(), self.each

    def _layout(self, shape: tf.TensorShape, axes: Any) -> Matrices:
        return Matrices.of(shape, self.axis if axes is None else axes, self.each)


def units_as_columns(x: tf.Tensor) -> tf.Tensor:
    """[groups, size, units] -> [size, groups * units]."""
    groups, size, units = x.shape
    # With one group, as usual, a reshape that copies nothing.
    return tf.reshape(x if groups == 1 else tf.transpose(x, [1, 0, 2]), [size, groups * units])


def unit_norms(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Euclidean norm of each unit: float64 [groups, size, units] -> float64 [groups, units]."""
    return tf.reshape(numerics.l2(units_as_columns(x), dtype), [x.shape[0], x.shape[2]])
