"""The optimizer that the settings name, and its learning rate at every step."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.engine import optimizers
from trainer.settings.config import Config
from trainer.settings.timeline import Timeline

TIMELINE = Timeline(100, 10)


def rates(*steps: int, **settings) -> list[float]:
    schedule = optimizers.learning_rate(Config(learning_rate=0.5, **settings), TIMELINE)
    return [float(schedule(tf.constant(step, tf.int64))) for step in steps]


def refused(**settings) -> str:
    with pytest.raises(ValueError, match="--") as caught:
        optimizers.learning_rate(Config(**settings), TIMELINE)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("adam", keras.optimizers.Adam),
        ("adamw", keras.optimizers.AdamW),
        ("rmsprop", keras.optimizers.RMSprop),
        ("sgd", keras.optimizers.SGD),
    ],
)
def test_one_of_each(name, kind):
    optimizer = optimizers.build(Config(optimizer=name), TIMELINE)
    assert type(optimizer) is kind
    # Clipping is the step's: here each replica's share would be clipped alone.
    assert (optimizer.clipnorm, optimizer.global_clipnorm, optimizer.clipvalue) == (None, None, None)
    assert optimizer.gradient_accumulation_steps is None


def test_settings_reach_the_optimizer():
    assert optimizers.build(Config(optimizer="sgd", momentum=0.3), TIMELINE).momentum == 0.3
    assert optimizers.build(Config(optimizer="rmsprop", momentum=0.2), TIMELINE).momentum == 0.2
    assert optimizers.build(Config(optimizer="adamw", weight_decay=0.1), TIMELINE).weight_decay == 0.1
    assert optimizers.build(Config(optimizer="adamw"), TIMELINE).weight_decay == 0.004
    assert optimizers.build(Config(optimizer="adamw", weight_decay=0.0), TIMELINE).weight_decay == 0.0


def test_constant():
    assert rates(0, 50, 100) == [0.5, 0.5, 0.5]


def test_cosine_falls_to_zero_or_to_what_was_asked_for():
    np.testing.assert_allclose(rates(0, 25, 50, 100, learning_rate_schedule="cosine")[::2], [0.5, 0.25], rtol=1e-6)
    np.testing.assert_allclose(rates(100, learning_rate_schedule="cosine"), [0.0], atol=1e-9)
    ends = rates(0, 50, 100, learning_rate_schedule="linear", final_learning_rate=0.1)
    np.testing.assert_allclose(ends, [0.5, 0.3, 0.1], rtol=1e-6)


def test_exponential_has_a_default_end_above_zero():
    np.testing.assert_allclose(rates(0, 50, 100, learning_rate_schedule="exponential"), [0.5, 0.05, 0.005], rtol=1e-5)


def test_warm_up_rises_from_zero_and_the_schedule_follows_it():
    warm = rates(0, 5, 10, 50, warmup="10%")
    np.testing.assert_allclose(warm, [0.0, 0.25, 0.5, 0.5], rtol=1e-6)
    after = rates(1, 10, 55, 100, warmup="1ep", learning_rate_schedule="linear")
    np.testing.assert_allclose(after, [0.05, 0.5, 0.25, 0.0], rtol=1e-6, atol=1e-9)


def test_the_optimizer_reads_the_rate_of_its_own_step():
    config = Config(optimizer="sgd", momentum=0.0, learning_rate=1.0, learning_rate_schedule="linear")
    optimizer = optimizers.build(config, Timeline(4, 2))
    weight = keras.Variable(0.0)
    optimizer.build([weight])
    for _ in range(5):
        optimizer.apply([tf.constant(-1.0)], [weight])
    np.testing.assert_allclose(weight.numpy(), 1.0 + 0.75 + 0.5 + 0.25 + 0.0)


def test_what_cannot_be():
    assert "--warmup=100%" in refused(warmup="100%")
    assert "shorten it" in refused(warmup="20ep")
    assert "--learning_rate_schedule=cosine" in refused(final_learning_rate=0.1)
    message = refused(learning_rate_schedule="exponential", final_learning_rate=0.0)
    assert "--learning_rate_schedule=exponential" in message
    assert "above 0" in message


def test_a_rate_can_be_written_down():
    rate = optimizers.build(Config(learning_rate_schedule="cosine"), TIMELINE)._learning_rate
    assert "schedule" in rate.get_config()
