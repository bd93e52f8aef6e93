"""Measures of weights for logs: sparsity, norms, distance, and the share of groups on the boundary."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from . import numerics
from .base import Constraint


def measure(
    constraint: Constraint, before: tf.Tensor, after: tf.Tensor, axes: int | tuple[int, ...] | None = None
) -> dict[str, tf.Tensor]:
    """Measures one projection of one variable.

    Args:
      constraint: the set, without schedules (see `Constraint.at`).
      before: the weights as the optimizer left them, any shape.
      after: the same weights projected.
      axes: axes whose weights share one group; None for the constraint's own.

    Returns:
      float64 scalars: `sparsity`, `norm_mean`, `norm_max` and `active` (share of groups on the boundary) of `after`,
      and `distance`, the l2 norm of what projecting `before` fully would take off. Without weights all are 0.
    """
    norms = constraint.norm(after, axes)
    distance = constraint.distance(before, axes)
    active = tf.cast(constraint.active(after, axes), tf.float64)
    return {
        "sparsity": sparsity(after),
        "norm_mean": _mean(norms),
        "norm_max": tf.reduce_max(tf.pad(tf.reshape(norms, [-1]), [[1, 0]])),
        "distance": tf.sqrt(tf.reduce_sum(tf.square(distance))),
        "active": _mean(active),
    }


def sparsity(w: Any) -> tf.Tensor:
    """Share of weights that are exactly zero; a subnormal is not.

    Args:
      w: floating-point weights, any shape.

    Returns:
      float64 scalar in [0, 1]; 0 without weights.
    """
    return _share(tf.equal(numerics.magnitude_bits(tf.convert_to_tensor(w)), 0))


def near_zero_share(w: Any, threshold: float) -> tf.Tensor:
    """Share of weights whose magnitude is at most a threshold, exact zeros among them.

    Args:
      w: floating-point weights, any shape.
      threshold: magnitude, at least 0.

    Returns:
      float64 scalar in [0, 1]; 0 without weights.

    Raises:
      ValueError: the threshold is negative or NaN.
    """
    if not threshold >= 0.0:
        raise ValueError(f"threshold={threshold} must be at least 0.")
    return _share(tf.abs(tf.cast(tf.convert_to_tensor(w), tf.float64)) <= threshold)


def _share(chosen: tf.Tensor) -> tf.Tensor:
    return _mean(tf.cast(chosen, tf.float64))


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values) / max(values.shape.num_elements(), 1)
