"""The time that the reader of a data set waits is measured, and what it reads stays the same."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from tests.support.tiny_experiment import same_bits
from trainer.data.stopwatch import Stopwatch

# Seconds that making an element takes at least; so many elements.
LONG, COUNT = 0.02, 20


def slow(number: tf.Tensor) -> tf.Tensor:
    def made(value):
        time.sleep(LONG)
        return value

    return tf.numpy_function(made, [number], tf.int64)


@tf.function(autograph=False)
def read(iterator, count):
    return tf.while_loop(
        lambda i, total: i < count, lambda i, total: (i + 1, total + next(iterator)), [0, tf.zeros([], tf.int64)]
    )


def test_what_comes_late_is_waited_for_and_what_is_there_is_not():
    slowly, quickly = Stopwatch(), Stopwatch()
    numbers = tf.data.Dataset.range(10**6)
    late = iter(slowly.timed(numbers.map(slow).map(lambda number: tf.ensure_shape(number, []))))
    assert (slowly.seconds, quickly.seconds) == (0, 0)
    begun = time.monotonic()
    assert int(read(late, COUNT)[1]) == sum(range(COUNT))
    assert COUNT * LONG * 0.9 <= slowly.seconds <= time.monotonic() - begun
    begun = time.monotonic()
    read(iter(quickly.timed(numbers)), COUNT)
    assert quickly.seconds < min(time.monotonic() - begun, 0.5 * COUNT * LONG)


def test_elements_stay_what_they_are():
    batches = tf.data.Dataset.from_tensor_slices(
        ({"a": np.arange(9), "b": np.ones([9, 2])}, np.zeros(9, np.float32))
    ).batch(4)
    timed = Stopwatch().timed(batches)
    assert timed.element_spec == batches.element_spec
    for one, other in zip(timed, batches, strict=True):
        assert same_bits(tf.nest.flatten(one), tf.nest.flatten(other))
