"""The l1 ball by compiled passes over float32 weights, see `numerics.simplex_threshold_large`."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics.reductions import column_totals, compiled, jit_glue, jit_or_sharded
from ..numerics.simplex_threshold_large import Threshold, threshold
from ..sets.l1ball import L1Ball

# Outside this range the passes are inexact: subnormals matter for tiny bounds, and float64 cancels when the sum is 2^30
# times the bound.
SAFE_RANGE = 2.0**-60, 2.0**100
SAFE_RATIO = 2.0**30

_sums = column_totals(lambda rows: (tf.abs(tf.cast(rows, tf.float64)),))


def project(ball: L1Ball, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return None
    return project_warm(ball, w, tf.zeros([ball.warm_start, w.shape[1]]))[0]


def project_warm(ball: L1Ball, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return ball._project_reference(w), warm_start
    cut, stays, safe, inside = _threshold(w, ball.value("max_value"), warm_start[0])

    def outside() -> tf.Tensor:
        return tf.cond(safe, lambda: _shrunk(w, cut, stays), numerics.outlined(lambda: ball._project_reference(w)))

    return tf.cond(inside, lambda: w, outside), cut.warm_start


@jit_or_sharded
def _threshold(w: tf.Tensor, bound: tf.Tensor, start: tf.Tensor) -> tuple[Threshold, tf.Tensor, tf.Tensor, tf.Tensor]:
    """The thresholds; bool [groups], which columns stay; bool scalars: whether the passes are exact, and all stay."""
    cut = threshold(w, tf.abs, bound, tf.zeros(w.shape[1:], tf.float64), start)
    close = jit_glue(_close)(cut, bound, w.shape[0])
    # Most of a column's sum may lie below the threshold, so only the sum itself tells whether the column may stay.
    own = numerics.outlined(lambda: _sums(w)[0])
    sums = tf.cond(tf.reduce_any(close), own, lambda: tf.zeros(w.shape[1:], tf.float64))
    return cut, *jit_glue(_judged)(cut, close, sums, bound, w.shape[0])


def _excess(cut: Threshold) -> tf.Tensor:
    """What shrinking takes off a column, at most the sum's excess over the bound; 0 or less inside: [groups]."""
    return cut.total * cut.count


def _close(cut: Threshold, bound: tf.Tensor, size: int) -> tf.Tensor:
    return cut.finite & (_excess(cut) > 0.0) & (_excess(cut) <= bound * numerics.slack(size))


def _judged(
    cut: Threshold, close: tf.Tensor, sums: tf.Tensor, bound: tf.Tensor, size: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    excess = _excess(cut)
    stays = ~cut.finite | (excess <= 0.0) | (close & (sums <= bound * (1.0 + numerics.slack(size))))
    safe = (bound > SAFE_RANGE[0]) & (bound < SAFE_RANGE[1]) & cut.found
    safe &= tf.reduce_all(stays | (excess <= bound * SAFE_RATIO))
    return stays, safe, safe & tf.reduce_all(stays)


@compiled
def _shrunk(w: tf.Tensor, cut: Threshold, stays: tf.Tensor) -> tf.Tensor:
    """Soft thresholding of the columns that do not stay: float32 [size, groups]."""
    # The sign is one of the bits, so round the magnitude before it has one.
    magnitude = numerics.toward_zero(tf.maximum(cut.excess(tf.abs(w)), 0.0), w.dtype)
    return tf.where(stays, w, numerics.with_sign(magnitude, w))
