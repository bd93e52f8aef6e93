"""Sets that hold for all units of a kernel together: budgets over units, and sets of matrices."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from ..base import Constraint
from ..layout import Matrices, checked_axis


@dataclasses.dataclass(frozen=True, eq=False)
class Joint(Constraint):
    """A set of matrices whose columns are units; one matrix is one group.

    The canonical layout of `project`, `rounded`, `nearest`, `pullback`, `column_norms` and `on_boundary` is [groups,
    size, units], and their results per group are [groups]; without `each` there is one group, the whole tensor, and
    `distance`, `norm` and `active` are scalars. NaN or inf anywhere in a group leaves the whole group as it is.

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

    def together(self, x: tf.Tensor) -> tf.Tensor:
        groups, size, units = x.shape
        return tf.transpose(tf.reshape(x, [groups, size * units]))

    def apart(self, values: tf.Tensor) -> tf.Tensor:
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
