"""The schedules' formulas: the value at a step, a float64 tensor of any shape."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


# Weighted means rather than `final + (initial - final) * share`: those would miss `initial` by a rounding error. Both
# weights are taken from the step itself, because one less the other has lost the digits of a value next to zero.
def _along(step: tf.Tensor, begin: int, end: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How much of the way is done and how much is left, as shares: exactly 0 and 1, or 1 and 0, at the ends."""
    # Clipped last: graphs would join the division with a product that follows, and miss the ends.
    done, left = (step - begin) / (end - begin), (end - step) / (end - begin)
    return tf.clip_by_value(done, 0.0, 1.0), tf.clip_by_value(left, 0.0, 1.0)


def _between(value: tf.Tensor, initial: float, final: float) -> tf.Tensor:
    """No rounding leads beyond the ends, which is what the range of a hyperparameter is checked with."""
    return tf.clip_by_value(value, min(initial, final), max(initial, final))


def _linear(step, initial, final, begin, end):
    done, left = _along(step, begin, end)
    return _between(initial * left + final * done, initial, final)


def _polynomial(step, initial, final, begin, end, power):
    share = _along(step, begin, end)[1] ** power
    return _between(initial * share + final * (1.0 - share), initial, final)


def _cosine(step, initial, final, begin, end):
    # (1 + cos(pi p)) / 2 as squares of sines, which keep their digits next to zero.
    done, left = (tf.square(tf.sin(0.5 * math.pi * share)) for share in _along(step, begin, end))
    return _between(initial * left + final * done, initial, final)


def _exponential(step, initial, final, begin, end):
    done, left = _along(step, begin, end)
    # From the nearer end and as a square: `exp` of the whole way would overflow where both ends do not.
    early = done < 0.5
    rate = 0.5 * (math.log(abs(final)) - math.log(abs(initial)))
    root = tf.exp(rate * tf.where(early, done, -left))
    near = tf.where(early, tf.constant(initial, tf.float64), tf.constant(final, tf.float64))
    return _between(near * root * root, initial, final)


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
