"""Ranks a matrix's parts by cheap sums of squares where those leave no doubt."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from .. import numerics
from ..numerics.top_k import num_nonzeros
from ..sets._structured import StructuredSparsity

# Below this sum of squares, subnormal weights could change the ranking.
SAFE_SQUARES = 2.0**-240


def project(
    structured: StructuredSparsity,
    w: tf.Tensor,
    squares: Callable[[tf.Tensor], tf.Tensor],
    masked: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
) -> tf.Tensor | None:
    """Keeps the parts of the largest norm.

    Args:
      structured: the set.
      w: [groups, size, units] of the weights' own type.
      squares: a compiled pass, the sum of squares of each part: w -> float64 [groups, parts].
      masked: a compiled pass, w where its part is marked and 0.0 elsewhere: w and bool [groups, parts] -> as w.

    Returns:
      As w, or None where no fast path applies.
    """
    if w.dtype != tf.float32 or numerics.is_small(w) or numerics.in_xla():
        return None
    exactly = numerics.outlined(lambda: structured._project_reference(w))
    if numerics.is_large(w):
        energy = squares(w)
        size = w.shape.num_elements() // max(energy.shape.num_elements(), 1)
        marks, clear = _marked(energy, num_nonzeros(structured.value("sparsity"), energy.shape[1]), size)
        return tf.cond(clear, lambda: masked(w, marks), exactly)
    parts = structured.parts(w)
    k = structured.num_kept(parts)
    estimates, least, clear = _estimated(parts, k)

    def ranked() -> tf.Tensor:
        marks = structured.spread(estimates >= least, w.shape)
        return tf.cond(clear, lambda: tf.where(marks, w, tf.zeros_like(w)), exactly)

    # A ramp starts with nothing to do.
    return tf.cond(k >= parts.shape[2], lambda: w, ranked)


def _marked(energy: tf.Tensor, k: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Marks the k largest parts of `size` weights by their sums of squares, float64 [groups, parts]; not for XLA.

    Returns:
      bool [groups, parts]; bool scalar, whether these are certainly the largest of each group, the others are not all
      zero, and all weights are finite.
    """

    def ranked(place: tf.Tensor) -> tf.Tensor:
        place = tf.clip_by_value(place, 0, energy.shape[1] - 1)
        return tf.raw_ops.NthElement(input=energy, n=place, reverse=True)[:, tf.newaxis]

    least, following = ranked(k - 1), ranked(k)
    # The order of a sum changes this much, and closer sums count as ties.
    doubt = 1.0 + size * 2.0**-51 + 2.0**-44
    clear = (following > SAFE_SQUARES) & (following * doubt < least) & (k > 0) & (k < energy.shape[1])
    return energy >= least, tf.reduce_all(clear) & tf.math.is_finite(tf.reduce_sum(energy))


def _estimated(parts: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Norms of parts, float32 [groups, weights of a part, parts], in one cheap pass; not for XLA.

    Returns:
      float32 [groups, parts], the norms; float32 [groups, 1], the smallest that is kept; bool scalar, as `_marked`.
    """
    groups, size, count = parts.shape
    norms, relative, absolute = numerics.l2_estimate(tf.reshape(tf.transpose(parts, [1, 0, 2]), [size, groups * count]))
    norms = tf.reshape(norms, [groups, count])
    descending = tf.sort(norms, axis=1, direction="DESCENDING")
    least = tf.gather(descending, tf.maximum(k - 1, 0), axis=1)[:, tf.newaxis]
    following = tf.gather(descending, tf.minimum(k, count - 1), axis=1)[:, tf.newaxis]
    # A group whose dropped parts are all zero may be feasible.
    clear = (following > absolute) & (following * (1.0 + 2.0 * relative) + 2.0 * absolute < least) & (k > 0)
    return norms, least, tf.reduce_all(clear) & tf.math.is_finite(tf.reduce_sum(norms))
