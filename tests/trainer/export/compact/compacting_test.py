"""Whole models: random networks, the project's own, MobileNet, and what a plain process loads."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import constraints
import models
from tests.support.compacted import CLOSE, checked, difference, inputs_of, lost, randomized, reasons, set_units
from tests.support.random_networks import Networks
from trainer.export.compact import Kept, compact

layers = keras.layers


@keras.saving.register_keras_serializable("tests")
class Doubled(layers.Layer):
    """A layer that nobody knows."""

    def call(self, x):
        return 2 * x


def halved(model: keras.Model, share: float = 0.5) -> keras.Model:
    """Random weights, of which a share of the units of each kernel is zero; a recurrent unit with its biases."""
    random = np.random.default_rng(0)
    randomized(model)
    for weight in model.trainable_variables:
        if weight.path.endswith("kernel") and "_cell" not in weight.path:
            set_units(weight, np.flatnonzero(random.random(weight.shape[-1]) < share))
    for layer in model.layers:
        if isinstance(layer, layers.LSTM | layers.GRU):
            units = np.flatnonzero(random.random(layer.units) < share)
            gates = layer.cell.kernel.shape[-1] // layer.units
            for weight in layer.weights:
                set_units(weight, [gate * layer.units + unit for gate in range(gates) for unit in units])
    return model


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 60, 10))
def test_random_networks(start):
    for seed in range(start, start + 10):
        keras.backend.clear_session()
        check_random(seed)


def check_random(seed: int) -> None:
    networks = Networks(seed)
    model = networks.model()
    compacted = checked(model)
    assert difference(model, compacted.model, networks.data(model)) <= CLOSE, seed
    # A second time finds nothing.
    assert compact(compacted.model).removed == (), seed


def test_an_unknown_layer_is_named_and_the_rest_goes_on():
    inputs = keras.Input((5,))
    x = layers.Dense(6, activation="relu", name="before")(inputs)
    x = Doubled(name="strange")(x)
    x = layers.Dense(7, activation="relu", name="after")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("before").kernel, (0, 1))
    set_units(model.get_layer("after").kernel, (0, 1, 2))
    compacted = checked(model)
    assert lost(compacted) == {"after": (7, 4)}
    assert compacted.kept == (
        Kept("before", "units", 2, "`strange`: there is no rule for Doubled"),
        Kept("strange", "units", 0, "there is no rule for Doubled"),
    )


@pytest.mark.slow
def test_a_lambda_a_subclass_and_a_model_with_its_own_call():
    class Own(keras.Model):
        def call(self, x):
            return x + 1

    class Mine(layers.Dense):
        def call(self, x):
            return super().call(x[..., ::-1])

    inputs = keras.Input((5,))
    x = layers.Dense(6, name="one")(inputs)
    x = layers.Lambda(lambda y: y + 1, name="lambda")(x)
    x = layers.Dense(6, name="two")(x)
    x = Own(name="own")(x)
    x = layers.Dense(6, name="three")(x)
    x = Mine(6, name="mine")(x)
    x = layers.Dense(6, activation="relu", name="four")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    for name in ("one", "two", "three", "four"):
        set_units(model.get_layer(name).kernel, (1, 2))
    compacted = checked(model)
    assert lost(compacted) == {"four": (6, 4)}
    for layer, other in (("one", "lambda"), ("two", "own"), ("three", "mine")):
        assert f"`{other}`: there is no rule for" in reasons(compacted, layer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "options"),
    [
        ("mlp", (8,), {}),
        ("convnet", (12, 12, 1), {}),
        ("resnet", (8, 8, 3), {"depth": 8}),
        ("lstm", (5, 4), {"hidden_units": (16, 16)}),
        ("gru", (5, 4), {"hidden_units": (16, 16)}),
        ("transformer", (8, 8, 1), {}),
    ],
)
def test_the_models_of_this_project(name, shape, options):
    model = halved(models.REGISTRY[name](shape, 3, **options))
    compacted = checked(model)
    assert compacted.removed
    assert compacted.parameters_after < 0.9 * compacted.parameters_before


@pytest.mark.slow
def test_an_lstm_unit_is_zero_where_the_rule_makes_it_so():
    model = randomized(models.REGISTRY["lstm"]((5, 4), 3))
    for weight in model.get_layer("lstm_1").weights:
        set_units(weight, [gate * 64 + unit for gate in range(4) for unit in range(32)])
    assert lost(checked(model)) == {"lstm_1": (64, 32)}


@pytest.mark.slow
def test_mobilenet():
    model = keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=10)
    random = np.random.default_rng(0)
    expected = {}
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # Trained statistics, so that outputs depend on everything.
            layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape) * 0.1)
            layer.beta.assign(random.normal(size=layer.beta.shape) * 0.1)
    for layer in model.layers:
        if type(layer) is layers.Conv2D and layer.name.startswith("conv_pw"):
            half = layer.filters // 2
            set_units(layer.kernel, range(half))
            norm = model.get_layer(f"{layer.name}_bn")
            # A zero filter's mean goes to zero in training; below zero, relu makes it zero at padded borders too.
            set_units(norm.moving_mean, range(half))
            set_units(norm.beta, range(half), value=-0.1)
            expected[layer.name] = (layer.filters, layer.filters - half)
    compacted = checked(model)
    found = lost(compacted)
    # The next depthwise layer's bias comes after its norm, so that its zero channels go with these.
    assert {name: size for name, size in found.items() if name.startswith("conv_pw") and "_bn" not in name} == expected
    assert compacted.parameters_after < 0.4 * compacted.parameters_before
    assert compacted.multiply_adds_after < 0.4 * compacted.multiply_adds_before


@pytest.mark.slow
def test_a_plain_process_loads_the_file(tmp_path: pathlib.Path):
    inputs = keras.Input((8, 8, 3))
    rule = constraints.MaxNorm(2.0)
    x = layers.Conv2D(6, 3, padding="same", name="conv", kernel_constraint=rule)(inputs)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.Bidirectional(layers.LSTM(4, kernel_constraint=rule))(layers.Reshape((8, 48))(x))
    model = randomized(keras.Model(inputs, layers.Dense(2, kernel_constraint=rule)(x)))
    set_units(model.get_layer("conv").kernel, (0, 3))
    compacted = checked(model)
    assert lost(compacted)["conv"][1] < 6
    data = inputs_of(model)
    np.save(tmp_path / "inputs.npy", data)
    compacted.model.save(tmp_path / "model.keras")
    program = (
        "import keras, numpy as np, sys\n"
        "model = keras.saving.load_model('model.keras')\n"
        "np.save('outputs.npy', model(np.load('inputs.npy'), training=False))\n"
        "assert not {'constraints', 'models', 'trainer'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True)
    expected = np.asarray(model(data, training=False))
    np.testing.assert_allclose(np.load(tmp_path / "outputs.npy"), expected, atol=CLOSE * np.abs(expected).max())
