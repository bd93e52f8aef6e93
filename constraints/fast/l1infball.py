"""The l1,inf ball without a search where the kernel is inside."""

from __future__ import annotations

import tensorflow as tf

from ..numerics.l1inf_bounds import heights
from ..sets.l1infball import L1InfBall


def project(ball: L1InfBall, w: tf.Tensor) -> tf.Tensor:
    # Largest magnitudes are exact in any type.
    total = tf.reduce_sum(tf.cast(heights(tf.abs(w)), tf.float64), axis=1)
    inside = tf.reduce_all(total <= ball.value("max_value"))
    return tf.cond(inside, lambda: w, lambda: ball._project_reference(w))
