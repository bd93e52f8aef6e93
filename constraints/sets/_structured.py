"""Matrices of which whole parts are zero: what sparse units and sparse blocks have in common."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from .. import numerics
from ..numerics.top_k import energies, kept, largest, turned
from ._matrix import Joint

# Sums of squares that the type's subnormals are nothing to.
_USUAL = 2.0**-240


@dataclasses.dataclass(frozen=True, eq=False)
class SparseParts(Joint):
    """A matrix's parts, all of one size, of which at least a share `sparsity` is zero.

    The nearest point keeps the k = n - round(sparsity n) of n parts that have the largest l2 norms, bit for bit, and
    sets the rest to 0. A subclass says what a part is.
    """

    convex: ClassVar[bool] = False

    sparsity: Any

    def parts(self, w: tf.Tensor) -> tf.Tensor:
        """[groups, size, units] -> [groups, weights of a part, parts]."""
        raise NotImplementedError(f"{type(self).__name__} must define `parts`.")

    def squares(self, w: tf.Tensor) -> tf.Tensor:
        """Sum of squares of each part, by a compiled pass: float32 [groups, size, units] -> float64 [groups, parts]."""
        raise NotImplementedError(f"{type(self).__name__} must define `squares`.")

    def chosen(self, w: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
        """w where its part is marked, and 0.0 elsewhere, compiled: [groups, size, units] and bool [groups, parts]."""
        raise NotImplementedError(f"{type(self).__name__} must define `chosen`.")

    def spread(self, marks: tf.Tensor, shape: tf.TensorShape) -> tf.Tensor:
        """[groups, parts] -> what broadcasts to the `shape` [groups, size, units]: each part's mark at its weights."""
        raise NotImplementedError(f"{type(self).__name__} must define `spread`.")

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(self._stays(x), x, tf.zeros_like(x))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return tf.where(self._stays(x), upstream, tf.zeros_like(upstream))

    def nearest(self, w: tf.Tensor) -> tf.Tensor:
        if w.dtype != tf.float32 or numerics.few(w) or numerics.in_xla():
            return self.project(w, w.dtype)
        exactly = numerics.rarely(lambda: self.project(w, w.dtype))
        if numerics.many(w):
            energy = self.squares(w)
            size = w.shape.num_elements() // max(energy.shape.num_elements(), 1)
            marks, clear = _marked(energy, kept(self.value("sparsity"), energy.shape[1]), size)
            return tf.cond(clear, lambda: self.chosen(w, marks), exactly)
        parts = self.parts(w)
        room = self._kept(parts)
        estimates, least, clear = _estimated(parts, room)

        def moved() -> tf.Tensor:
            chosen = self.spread(estimates >= least, w.shape)
            return tf.cond(clear, lambda: tf.where(chosen, w, tf.zeros_like(w)), exactly)

        # Nothing to do at the start of a ramp; else float32 mostly tells which are the largest.
        return tf.cond(room >= parts.shape[2], lambda: w, moved)

    def column_norms(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return numerics.l2(self.together(x), dtype)

    def on_boundary(self, w: tf.Tensor) -> tf.Tensor:
        parts = self.parts(w)
        return _non_zero(parts) >= self._kept(parts)

    def _stays(self, w: tf.Tensor) -> tf.Tensor:
        """Which weights are kept: bool, broadcasts to the shape of `w`."""
        parts = self.parts(w)
        room = self._kept(parts)
        as_is = (_non_zero(parts) <= room) | ~numerics.finite_groups(self.together(w))
        chosen = tf.cond(
            tf.reduce_all(as_is),
            lambda: tf.zeros([parts.shape[0], parts.shape[2]], tf.bool),
            lambda: turned(largest(turned(energies(parts)), room)),
        )
        return self.spread(as_is[:, tf.newaxis] | chosen, w.shape)

    def _kept(self, parts: tf.Tensor) -> tf.Tensor:
        return kept(self.value("sparsity"), parts.shape[2])


def _non_zero(parts: tf.Tensor) -> tf.Tensor:
    """How many parts are not zero: [groups, weights of a part, parts] -> int32 [groups]."""
    some = tf.reduce_any(numerics.magnitude_bits(parts) > 0, axis=1)
    return tf.math.count_nonzero(some, axis=1, dtype=tf.int32)


def _marked(energy: tf.Tensor, room: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Marks the largest parts by sums of squares in float64; not for XLA.

    Args:
      energy: float64 [groups, parts].
      room: int32 scalar, how many of a group's parts are kept.
      size: weights of a part.

    Returns:
      bool [groups, parts]; bool scalar, whether beyond doubt those are the largest of each group, the others not all
      zero, and all weights finite.
    """

    def ranked(place: tf.Tensor) -> tf.Tensor:
        place = tf.clip_by_value(place, 0, energy.shape[1] - 1)
        return tf.raw_ops.NthElement(input=energy, n=place, reverse=True)[:, tf.newaxis]

    least, following = ranked(room - 1), ranked(room)
    # What the order of a sum changes, and what counts as a tie.
    doubt = 1.0 + size * 2.0**-51 + 2.0**-44
    clear = (following > _USUAL) & (following * doubt < least) & (room > 0) & (room < energy.shape[1])
    return energy >= least, tf.reduce_all(clear) & tf.math.is_finite(tf.reduce_sum(energy))


def _estimated(parts: tf.Tensor, room: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Norms in one cheap pass; not for XLA.

    Args:
      parts: float32 [groups, weights of a part, parts].
      room: int32 scalar, how many of a group's parts are kept.

    Returns:
      float32 [groups, parts], the norms; float32 [groups, 1], the least that is kept; bool scalar, whether beyond
      doubt those that reach it are the largest of each group, the others not all zero, and all weights finite.
    """
    groups, size, count = parts.shape
    norms, relative, absolute = numerics.l2_estimate(tf.reshape(tf.transpose(parts, [1, 0, 2]), [size, groups * count]))
    norms = tf.reshape(norms, [groups, count])
    descending = tf.sort(norms, axis=1, direction="DESCENDING")
    least = tf.gather(descending, tf.maximum(room - 1, 0), axis=1)[:, tf.newaxis]
    following = tf.gather(descending, tf.minimum(room, count - 1), axis=1)[:, tf.newaxis]
    # Groups with nothing but zeros to drop may be feasible, and hold a -0.0 that is to stay.
    clear = (following > absolute) & (following * (1.0 + 2.0 * relative) + 2.0 * absolute < least) & (room > 0)
    return norms, least, tf.reduce_all(clear) & tf.math.is_finite(tf.reduce_sum(norms))
