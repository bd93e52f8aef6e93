"""A copy of a model that knows nothing of training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from constraints import MaxNorm
from trainer.export.plain import plain


def test_constraints_and_the_optimizer_stay_behind():
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input([6]), keras.layers.Dense(6, kernel_constraint=MaxNorm(1.0))], name="inner")
    inputs = keras.Input([6])
    shared = keras.layers.Dense(6, kernel_regularizer="l2", bias_constraint=keras.constraints.NonNeg())
    model = keras.Model(inputs, shared(inner(shared(inputs))))
    model.compile("adam", "mse")
    copy = plain(model)
    assert [one.name for one in copy.weights] == [one.name for one in model.weights]
    for mine, its in zip(copy.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), its.numpy())
        assert mine is not its
        assert mine.constraint is None
    assert not copy.compiled
    x = np.random.default_rng(0).random((4, 6), dtype=np.float32)
    np.testing.assert_array_equal(copy(x), model(x))


class Own(keras.Model):
    def __init__(self, units):
        super().__init__()
        self.dense = keras.layers.Dense(units)

    def call(self, inputs):
        return self.dense(inputs)


def test_a_model_that_keras_cannot_make_again_is_told_how_to_help():
    model = Own(3)
    model(np.zeros([1, 2], np.float32))
    with pytest.raises(ValueError, match=r"cannot be copied for its export: .*give its class a get_config\(\)"):
        plain(model)
