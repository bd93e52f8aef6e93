"""The simplex by compiled passes over float32 weights, see `numerics.simplex_threshold_large`."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics.reductions import column_totals, compiled, jit_glue, jit_or_sharded
from ..numerics.simplex_threshold import sums_to
from ..numerics.simplex_threshold_large import Threshold, threshold
from ..sets.simplex import Simplex
from .l1ball import SAFE_RANGE, SAFE_RATIO


def project(simplex: Simplex, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return None
    return project_warm(simplex, w, tf.zeros([simplex.warm_start, w.shape[1]]))[0]


def project_warm(simplex: Simplex, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if w.dtype != tf.float32 or numerics.is_small(w):
        return simplex._project_reference(w), warm_start
    cut, stays, safe = _threshold(w, simplex.value("total"), warm_start[0])
    exactly = numerics.outlined(lambda: simplex._project_reference(w))
    return tf.cond(safe, lambda: _cut_off(w, cut, stays), exactly), cut.warm_start


@jit_or_sharded
def _threshold(w: tf.Tensor, total: tf.Tensor, start: tf.Tensor) -> tuple[Threshold, tf.Tensor, tf.Tensor]:
    """The thresholds; bool [groups], which columns stay; bool scalar, whether the passes are exact."""
    sums, negative = column_totals(lambda rows: (tf.cast(rows, tf.float64), rows < 0.0))(w)

    def lowest(sums: tf.Tensor, negative: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        finite = tf.math.is_finite(sums)
        # The excess of all weights is the mean's; start a little below, because rounding may have raised it.
        mean = tf.where(finite, sums - total, 0.0) / w.shape[0]
        stays = ~finite | (sums_to(sums, w.shape[0], total, w.dtype) & (negative <= 0.0))
        return mean - tf.abs(mean) * 2.0**-40, stays

    def judged(cut: Threshold, stays: tf.Tensor) -> tf.Tensor:
        safe = (total > SAFE_RANGE[0]) & (total < SAFE_RANGE[1]) & cut.found
        return safe & tf.reduce_all(stays | (tf.abs(cut.total) * cut.count <= total * SAFE_RATIO))

    least, stays = jit_glue(lowest)(sums, negative)
    cut = threshold(w, lambda rows: rows, total, least, start)
    # -inf lies below every threshold, so only the sums know of it.
    cut = cut._replace(finite=tf.math.is_finite(sums))
    return cut, stays, jit_glue(judged)(cut, stays)


@compiled
def _cut_off(w: tf.Tensor, cut: Threshold, stays: tf.Tensor) -> tf.Tensor:
    return numerics.without_subnormals(tf.where(stays, w, tf.cast(tf.nn.relu(cut.excess(w)), w.dtype)))
