"""The schedules' formulas: the value at a step, a float64 tensor of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


def _progress(step: tf.Tensor, begin: int, end: int) -> tf.Tensor:
    return tf.clip_by_value((step - begin) / (end - begin), 0.0, 1.0)


# Weighted means rather than `final + (initial - final) * share`: those would miss `initial` by a rounding error.
def _linear(step, initial, final, begin, end):
    progress = _progress(step, begin, end)
    return initial * (1.0 - progress) + final * progress


def _polynomial(step, initial, final, begin, end, power):
    share = (1.0 - _progress(step, begin, end)) ** power
    return initial * share + final * (1.0 - share)


def _cosine(step, initial, final, begin, end):
    share = 0.5 * (1.0 + tf.cos(math.pi * _progress(step, begin, end)))
    return initial * share + final * (1.0 - share)


def _exponential(step, initial, final, begin, end):
    value = initial * tf.exp(math.log(final / initial) * _progress(step, begin, end))
    # exp(log(x)) is x only up to rounding; the ends are exact by choice.
    first, last = tf.constant(initial, tf.float64), tf.constant(final, tf.float64)
    return tf.where(step <= begin, first, tf.where(step >= end, last, value))


def _piecewise(step, boundaries, values):
    passed = tf.cast(step[..., tf.newaxis] >= tf.constant(boundaries, tf.float64), tf.int32)
    return tf.gather(tf.constant(values, tf.float64), tf.reduce_sum(passed, axis=-1))


def _through(step, schedule, inputs, outputs):
    x, y = tf.constant(inputs, tf.float64), tf.constant(outputs, tf.float64)
    value = schedule(step)
    if len(inputs) == 1:
        return tf.fill(tf.shape(value), y[0])
    # Not tf.searchsorted, which XLA lacks.
    left = tf.reduce_sum(tf.cast(value[..., tf.newaxis] >= x[1:-1], tf.int32), axis=-1)
    x0, x1, y0, y1 = (tf.gather(*pair) for pair in ((x, left), (x, left + 1), (y, left), (y, left + 1)))
    share = tf.clip_by_value((value - x0) / (x1 - x0), 0.0, 1.0)
    return y0 * (1.0 - share) + y1 * share


def _warmup(step, schedule, steps):
    return schedule(step) * tf.clip_by_value(step / steps, 0.0, 1.0)


FORMULAS: dict[str, Callable[..., tf.Tensor]] = {
    "constant": lambda step, value: tf.fill(tf.shape(step), tf.constant(value, tf.float64)),
    "cosine": _cosine,
    "exponential": _exponential,
    "linear": _linear,
    "piecewise": _piecewise,
    "polynomial": _polynomial,
    "through": _through,
    "warmup": _warmup,
}
