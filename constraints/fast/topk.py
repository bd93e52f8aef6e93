"""The k largest magnitudes by arithmetic, or by counting (`numerics.top_k_large`), in place of selecting bits."""

from __future__ import annotations

import tensorflow as tf

from .. import numerics
from ..numerics import top_k_large
from ..numerics.top_k import kth, num_nonzeros
from ..sets.topk import TopK

# Differences of numbers above it are never subnormal, which arithmetic flushes to zero.
SAFE_MAGNITUDE = 2.0**-100
# Weights from which counting from a warm start costs less than selecting.
WARM_MIN_SIZE = 1 << 14


def project(topk: TopK, w: tf.Tensor) -> tf.Tensor | None:
    if w.dtype != tf.float32 or numerics.is_small(w) or numerics.in_xla():
        return None
    if numerics.is_large(w):
        return _counted(topk, w, tf.zeros([topk.warm_start, w.shape[1]]))[0]
    k = num_nonzeros(topk.value("sparsity"), w.shape[0])
    magnitude = tf.abs(w)
    bits = kth(tf.bitcast(magnitude, tf.int32), k)
    # The k largest lie above the number before the k-th magnitude, unless several equal the k-th.
    over = tf.nn.relu(tf.nn.bias_add(magnitude, -tf.bitcast(bits - 1, tf.float32)))
    count = numerics.column_sums(tf.sign(over))[0]
    untied = tf.equal(count, tf.cast(k, tf.float32))
    untied &= (tf.bitcast(bits, tf.float32) > SAFE_MAGNITUDE) & tf.math.is_finite(numerics.column_sums(magnitude)[0])
    exactly = numerics.outlined(lambda: topk._project_reference(w))
    return tf.cond(tf.reduce_all(untied), lambda: _masked(w, over, count), exactly)


def project_warm(topk: TopK, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    if w.dtype != tf.float32 or w.shape.num_elements() < WARM_MIN_SIZE or numerics.in_xla():
        return topk._project_in_dtype(w), warm_start
    return _counted(topk, w, warm_start)


def _counted(topk: TopK, w: tf.Tensor, warm_start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    k = num_nonzeros(topk.value("sparsity"), w.shape[0])
    cut = top_k_large.cut(w, tf.maximum(k, 1), warm_start)
    untied = ~cut.finite | tf.equal(cut.bits, 0) | tf.equal(cut.count_at_least, tf.cast(k, tf.float64))
    last, too_many = tf.cond(
        tf.reduce_all(untied),
        lambda: (tf.fill([w.shape[1]], w.shape[0]), tf.constant(False)),
        lambda: top_k_large.break_ties(w, cut, k),
    )
    exactly = numerics.outlined(lambda: topk._project_reference(w))
    p = tf.cond(too_many | (k < 1) | ~cut.found, exactly, lambda: top_k_large.keep_top_k(w, cut, last))
    return p, cut.warm_start


def _masked(w: tf.Tensor, over: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """w where `over` is above 0 and 0.0 elsewhere, without selections: [size, groups], all finite."""
    # Adding +0.0 turns -0.0 into 0.0. The zero is computed at run time so that the graph optimizer cannot remove it.
    return tf.nn.bias_add(tf.raw_ops.ReluGrad(gradients=w, features=over), tf.nn.relu(-count))
