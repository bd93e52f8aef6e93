"""What Keras's optimizers are asked for has the same name in the version at hand."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from trainer.runtime import keras_internals, replicas


def built(optimizer):
    weight = keras.Variable(np.ones((2, 3), np.float32))
    optimizer.build([weight])
    return optimizer, weight


def test_the_counter_counts_batches_where_gradients_are_accumulated():
    optimizer, weight = built(keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))
    for _ in range(3):
        optimizer.apply([tf.ones([2, 3])], [weight])
    assert int(keras_internals.step_counter(optimizer).numpy()) == 3
    assert int(optimizer.iterations) == 1


def test_a_learning_rate_is_a_number_a_schedule_or_a_function():
    decay = keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 0.25])
    step = tf.constant(2, tf.int64)
    for optimizer, expected in (
        (keras.optimizers.SGD(0.5), 0.5),
        (keras.optimizers.SGD(lambda: 0.125), 0.125),
        (keras.optimizers.SGD(decay), 0.25),
        # Two batches are one update, at which the schedule still has its first value.
        (keras.optimizers.SGD(decay, gradient_accumulation_steps=2), 1.0),
        (keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(decay)), 0.25),
    ):
        assert float(keras_internals.learning_rate(optimizer)(step)) == expected


def test_a_rate_that_is_set_later_is_followed():
    optimizer = keras.optimizers.SGD(0.5)
    rate = keras_internals.learning_rate(optimizer)
    optimizer.learning_rate = 0.25
    assert float(rate(tf.constant(0, tf.int64))) == 0.25


def test_state_lists_are_those_of_the_optimizer_that_changes_the_weights():
    inner = keras.optimizers.Adam(use_ema=True)
    optimizer, _ = built(keras.optimizers.LossScaleOptimizer(inner))
    assert keras_internals.unwrapped(optimizer) is inner
    lists = keras_internals.state_lists(optimizer)
    assert {"momentums", "velocities"} <= lists.keys()
    assert not {"trainable_variables", "model_variables_moving_average"} & lists.keys()


def test_an_optimizer_made_outside_a_strategy_is_made_again_within():
    strategy = replicas.strategy(1)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    outside = keras.optimizers.AdamW(schedule, weight_decay=0.25, beta_1=0.5)
    within = keras_internals.of_strategy(outside, strategy)
    assert within is not outside
    assert within.get_config() == outside.get_config()
    with strategy.scope():
        variable = keras.Variable([1.0])
        within.build([variable])
    assert keras_internals.of_strategy(within, strategy) is within
    for given in ("adam", outside):
        assert keras_internals.of_strategy(given, tf.distribute.get_strategy()) is given
