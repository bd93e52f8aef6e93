"""The box."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from .. import numerics
from ..base import Constraint
from ..hyperparameters import hyperparameter, is_tensor
from ..schedules import Schedule


@dataclasses.dataclass(frozen=True, eq=False)
class Box(Constraint):
    """Weights from `min_value` to `max_value`: the box { x : a <= x_i <= b }.

    The nearest point of x is `min(max(x, a), b)`, weight by weight. Convex, unique; inf is clipped, NaN stays in its
    own weight. a is rounded up and b down to a number of the weights' type, so that a clipped weight obeys both; if
    none lies between them, the number nearest to their middle is taken. O(n).

    Attributes:
      max_value: b, at least a at every step.
      min_value: a.

    References:
      Courbariaux, Bengio and David, "BinaryConnect: Training Deep Neural Networks with binary weights during
      propagations", 2015.
      Arjovsky, Chintala and Bottou, "Wasserstein Generative Adversarial Networks", 2017.
    """

    exchangeable: ClassVar[bool] = True
    per_weight: ClassVar[bool] = True

    max_value: Any = hyperparameter(1.0, "Largest weight.", kw_only=True)
    min_value: Any = hyperparameter(-1.0, "Smallest weight.", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_order("min_value", "max_value")
        object.__setattr__(self, "solid", _opposite(self.min_value, self.max_value))

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        low, high = (tf.cast(bound, x.dtype) for bound in self.representable(dtype))
        # By the bits: of comparisons and selections of floats XLA makes clipping, which flushes subnormals to zero.
        place = numerics.in_order(x)
        below, above = place < numerics.in_order(low), place > numerics.in_order(high)
        return tf.where(tf.math.is_nan(x), x, tf.where(below, low, tf.where(above, high, x)))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w):
            return self.project(w, w.dtype)
        low, high = self.representable(w.dtype)
        return tf.minimum(high, tf.maximum(low, w))

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.reduce_max(tf.pad(tf.abs(x), [[1, 0], [0, 0]]), axis=0)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        low, high = self.representable(w.dtype)
        return tf.reduce_any((w <= low) | (w >= high), axis=0)

    def representable(self, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
        """a and b as numbers of the type: float64 scalars for float64, else of the type."""
        largest = float(dtype.max)
        low = tf.clip_by_value(self.value("min_value"), -largest, largest)
        high = tf.clip_by_value(self.value("max_value"), -largest, largest)
        inner_low = tf.where(low < 0.0, numerics.toward_zero(low, dtype), numerics.away_from_zero(low, dtype))
        inner_high = tf.where(high < 0.0, numerics.away_from_zero(high, dtype), numerics.toward_zero(high, dtype))
        middle = numerics.nearest(low + 0.5 * (high - low), dtype)
        some = inner_low <= inner_high
        return tf.where(some, inner_low, middle), tf.where(some, inner_high, middle)


def _opposite(low: Any, high: Any) -> bool:
    """Whether one bound is known to be the other's negative at every step, so that signs do not matter."""
    if is_tensor(low) or is_tensor(high):
        return False
    if any(isinstance(bound, Schedule) and not bound.resolved for bound in (low, high)):
        # As far as it can be told before the places are steps; `resolve` makes the box anew.
        ends = [bound.extremes() if isinstance(bound, Schedule) else (bound, bound) for bound in (low, high)]
        return ends[0] == (-ends[1][1], -ends[1][0])
    spans = [bound.span() for bound in (low, high) if isinstance(bound, Schedule)]
    first, last = min((begin for begin, _ in spans), default=0), max((end for _, end in spans), default=0)
    steps = tf.constant(np.linspace(first, last, 101).astype(np.int64))
    with tf.init_scope():
        below, above = (bound(steps).numpy() if isinstance(bound, Schedule) else bound for bound in (low, high))
    return bool(np.all(np.equal(below, np.negative(above))))
