"""Sparse blocks of large float32 kernels by compiled passes."""

from __future__ import annotations

import tensorflow as tf

from ..numerics.reductions import compiled
from ..sets._structured import spread_tiles
from ..sets.block import Block
from . import _structured


def project(block: Block, w: tf.Tensor) -> tf.Tensor | None:
    shape = block.block
    return _structured.project(block, w, lambda w: _squares(w, *shape), lambda w, marks: _masked(w, marks, *shape))


@compiled
def _squares(w: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Sum of squares of each block: float32 [groups, size, units] -> float64 [groups, blocks], row-major."""
    groups, size, units = w.shape
    # Rows of a block first, which only adds whole rows of the kernel.
    tall = tf.reshape(tf.square(tf.cast(w, tf.float64)), [groups, size // rows, rows, units])
    wide = tf.reshape(tf.reduce_sum(tall, axis=2), [groups, size // rows, units // columns, columns])
    return tf.reshape(tf.reduce_sum(wide, axis=3), [groups, -1])


@compiled
def _masked(w: tf.Tensor, marks: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    return tf.where(spread_tiles(marks, w.shape, rows, columns), w, tf.zeros_like(w))
