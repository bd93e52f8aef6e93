"""Intervals as the weights' own type has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from .. import numerics
from ..hyperparameters import is_tensor


def representable(low: tf.Tensor, high: tf.Tensor, dtype: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest interval of the type inside [low, high], or the number nearest to its middle if there is none.

    Args:
      low: float64 scalar.
      high: float64 scalar, at least `low`.
      dtype: the weights' own type.

    Returns:
      The ends: float64 scalars for float64, else of the type.
    """
    largest = float(dtype.max)
    low, high = (tf.clip_by_value(end, -largest, largest) for end in (low, high))
    inner_low = tf.where(low < 0.0, numerics.toward_zero(low, dtype), numerics.away_from_zero(low, dtype))
    inner_high = tf.where(high < 0.0, numerics.away_from_zero(high, dtype), numerics.toward_zero(high, dtype))
    middle = numerics.nearest(low + 0.5 * (high - low), dtype)
    some = inner_low <= inner_high
    return tf.where(some, inner_low, middle), tf.where(some, inner_high, middle)


def always_opposite(low: Any, high: Any) -> bool:
    """Whether one bound is known to be the other's negative at every step, so that signs do not matter."""
    if is_tensor(low) or is_tensor(high):
        return False
    if not all(getattr(bound, "resolved", True) for bound in (low, high)):
        # Compare what is known before the places of a schedule are steps; `resolve` makes the set anew.
        (least, most), ends = (bound.extremes() if callable(bound) else (bound, bound) for bound in (low, high))
        return (-most, -least) == ends
    spans = [bound.span() for bound in (low, high) if callable(bound)]
    first, last = min((begin for begin, _ in spans), default=0), max((end for _, end in spans), default=0)
    steps = tf.constant(np.linspace(first, last, 101).astype(np.int64))
    with tf.init_scope():
        below, above = (bound(steps).numpy() if callable(bound) else bound for bound in (low, high))
    return bool(np.all(np.equal(below, np.negative(above))))
