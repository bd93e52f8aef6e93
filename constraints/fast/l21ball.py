"""The l2,1 ball by two compiled passes over float32 weights, see `numerics.reductions`."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics.reductions import compiled, squares
from ..sets._matrix import units_as_columns
from ..sets.l21ball import L21Ball


def project(ball: L21Ball, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return None
    groups, size, units = w.shape
    norms = tf.reshape(tf.sqrt(squares(units_as_columns(w))), [groups, units])
    factor, stays = ball.factor(norms, size)
    return tf.cond(tf.reduce_all(stays), lambda: w, numerics.outlined(lambda: _product(w, factor, stays)))


@compiled
def _product(w: tf.Tensor, factor: tf.Tensor, stays: tf.Tensor) -> tf.Tensor:
    """Each unit times its factor, rounded toward zero: float32 [groups, size, units]."""
    p = numerics.toward_zero(tf.cast(w, tf.float64) * factor, w.dtype)
    return tf.where(stays, w, tf.where(factor > 0.0, p, tf.zeros_like(w)))
