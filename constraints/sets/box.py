"""The box."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter
from ._interval import always_opposite, representable


@dataclasses.dataclass(frozen=True, eq=False)
class Box(Constraint):
    """Weights from `min_value` to `max_value`: argmin_p ||p - x|| over the box { p : a <= p_i <= b }.

    The nearest point is `min(max(x, a), b)`, weight by weight. Convex, unique; inf is clipped, NaN stays in its own
    weight. a is rounded up and b down to a number of the weights' type. O(n).

    Attributes:
      max_value: b, at least a at every step.
      min_value: a.

    References:
      Courbariaux, Bengio and David, "BinaryConnect", 2015.
    """

    permutation_invariant: ClassVar[bool] = True
    separable: ClassVar[bool] = True

    max_value: Any = hyperparameter(1.0, "Largest weight.", kw_only=True)
    min_value: Any = hyperparameter(-1.0, "Smallest weight.", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("min_value", "max_value")
        object.__setattr__(self, "solid", always_opposite(self.min_value, self.max_value))

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        low, high = (tf.cast(bound, x.dtype) for bound in self.representable(dtype))
        # Compare bits, because comparisons of floats take subnormals for zero.
        place, least, most = (numerics.in_order(values) for values in (x, low, high))
        return tf.where(tf.math.is_nan(x), x, tf.where(place < least, low, tf.where(place > most, high, x)))

    def _project_reference(self, w: tf.Tensor) -> tf.Tensor:
        return self._project(w, w.dtype)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_max(tf.pad(tf.abs(x), [[1, 0], [0, 0]]), axis=0)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        low, high = self.representable(w.dtype)
        return tf.reduce_any((w <= low) | (w >= high), axis=0)

    def representable(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """a and b as numbers of the type, see `_interval.representable`."""
        return representable(self.value("min_value"), self.value("max_value"), dtype)
