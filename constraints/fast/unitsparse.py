"""Sparse units of large float32 kernels by compiled passes."""

from __future__ import annotations

import tensorflow as tf

from ..numerics import reductions
from ..sets._matrix import units_as_columns
from ..sets.unitsparse import UnitSparse
from . import _structured


def project(unitsparse: UnitSparse, w: tf.Tensor) -> tf.Tensor | None:
    return _structured.project(unitsparse, w, _squares, _masked)


def _squares(w: tf.Tensor) -> tf.Tensor:
    return tf.reshape(reductions.squares(units_as_columns(w)), [w.shape[0], w.shape[2]])


@reductions.compiled
def _masked(w: tf.Tensor, marks: tf.Tensor) -> tf.Tensor:
    return tf.where(marks[:, tf.newaxis, :], w, tf.zeros_like(w))
