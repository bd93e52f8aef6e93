"""Kernels of low rank become two layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import CLOSE, difference, randomized
from trainer.export.compact import Factored, low_rank

layers = keras.layers


def of_rank(weight, rank: int) -> None:
    random = np.random.default_rng(0)
    shape = tuple(weight.shape)
    matrix = random.normal(size=(int(np.prod(shape[:-1])), rank)) @ random.normal(size=(rank, shape[-1]))
    weight.assign(matrix.reshape(shape))


def test_dense_kernels():
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(10, activation="tanh", name="low"), layers.Dense(9, name="full")]
    )
    of_rank(randomized(model).get_layer("low").kernel, 3)
    result = low_rank(model)
    assert result.factored == (Factored("low", (12, 10), 3),)
    assert difference(model, result.model) <= CLOSE
    assert result.model.count_params() == model.count_params() - 12 * 10 + 3 * (12 + 10)
    factor, low = result.model.get_layer("low_factor"), result.model.get_layer("low")
    assert (factor.use_bias, factor.activation.__name__, low.activation.__name__) == (False, "linear", "tanh")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"padding": "same", "strides": 2}, {"dilation_rate": 2}, {"use_bias": False}])
def test_convolutions(options):
    inputs = keras.Input((8, 8, 4))
    x = layers.Conv2D(12, 3, activation="relu", name="low", **options)(inputs)
    model = randomized(keras.Model(inputs, layers.Conv2D(8, 1, groups=4, name="grouped")(x)))
    of_rank(model.get_layer("low").kernel, 2)
    of_rank(model.get_layer("grouped").kernel, 1)
    result = low_rank(model)
    assert result.factored == (Factored("low", (36, 12), 2),)
    assert difference(model, result.model) <= CLOSE


@pytest.mark.slow
def test_a_rank_that_saves_nothing_stays():
    model = keras.Sequential([keras.Input((12,)), layers.Dense(12, name="half")])
    of_rank(randomized(model).get_layer("half").kernel, 6)
    assert low_rank(model).factored == ()
    of_rank(model.get_layer("half").kernel, 5)
    assert low_rank(model).factored == (Factored("half", (12, 12), 5),)


@pytest.mark.slow
def test_a_tolerance_leaves_out_small_singular_values():
    model = keras.Sequential([keras.Input((12,)), layers.Dense(12, name="noisy")])
    of_rank(randomized(model).get_layer("noisy").kernel, 2)
    kernel = np.array(model.get_layer("noisy").kernel[:])
    model.get_layer("noisy").kernel.assign(kernel + 1e-4 * np.random.default_rng(1).normal(size=kernel.shape))
    assert low_rank(model).factored == ()
    result = low_rank(model, 1e-2)
    assert result.factored == (Factored("noisy", (12, 12), 2),)
    assert CLOSE < difference(model, result.model) < 1e-2


@pytest.mark.slow
def test_a_kernel_of_zeros_and_a_shared_layer():
    inputs = keras.Input((12,))
    shared = layers.Dense(12, name="shared", activation="relu")
    x = layers.Dense(12, name="zero")(shared(shared(inputs)))
    model = randomized(keras.Model(inputs, x))
    of_rank(shared.kernel, 2)
    model.get_layer("zero").kernel.assign(np.zeros((12, 12)))
    result = low_rank(model)
    assert result.factored == (Factored("shared", (12, 12), 2), Factored("zero", (12, 12), 1))
    assert difference(model, result.model) <= CLOSE


@pytest.mark.parametrize("tolerance", [-1e-3, 1.0, float("nan")])
def test_a_tolerance_out_of_range_is_refused(tolerance):
    with pytest.raises(ValueError, match=r"must be a number in \[0, 1\)"):
        low_rank(keras.Sequential([keras.Input((2,)), layers.Dense(2)]), tolerance)
