"""Layers that hand on every channel alone."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def around(*middle: layers.Layer, shape: tuple[int, ...] = (6, 6, 2)) -> keras.Model:
    """A 1x1 convolution, the layers, and a dense head on everything."""
    x = inputs = keras.Input(shape)
    x = layers.Dense(6, name="first")(x)
    for layer in middle:
        x = layer(x)
    if len(x.shape) > 2:
        x = layers.Flatten()(x)
    return randomized(keras.Model(inputs, layers.Dense(3, name="out")(x)))


def test_batch_normalisation_of_a_constant_is_a_constant():
    model = around(layers.BatchNormalization(name="norm"), layers.ReLU())
    set_units(model.get_layer("first").kernel, (0, 4))
    compacted = checked(model)
    assert lost(compacted) == {"first": (6, 4), "norm": (6, 4)}
    first, norm = model.get_layer("first"), model.get_layer("norm")
    scale = np.array(norm.gamma[:]) / np.sqrt(np.array(norm.moving_variance[:]) + norm.epsilon)
    constant = np.maximum(0, scale * (np.array(first.bias[:]) - norm.moving_mean[:]) + norm.beta[:])[[0, 4]]
    rows = np.array(model.get_layer("out").kernel[:]).reshape(36, 6, 3)[:, [0, 4]].sum(axis=0)
    expected = model.get_layer("out").bias[:] + constant @ rows
    np.testing.assert_allclose(compacted.model.get_layer("out").bias[:], expected, rtol=1e-5)


@pytest.mark.slow
def test_a_zero_scale_leaves_beta_to_fold():
    model = around(layers.BatchNormalization(name="norm"), layers.ReLU())
    set_units(model.get_layer("norm").gamma, (1, 2, 3))
    assert lost(checked(model)) == {"first": (6, 3), "norm": (6, 3)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "middle",
    [
        layers.Dropout(0.5),
        layers.GaussianNoise(0.1),
        layers.SpatialDropout2D(0.5),
        layers.Identity(),
        layers.Rescaling(0.5, offset=-0.25),
        layers.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2),
        layers.LeakyReLU(0.3),
        layers.ELU(0.7),
        layers.PReLU(shared_axes=[1, 2]),
        layers.Activation("gelu"),
        layers.MaxPooling2D(2, padding="same", strides=3),
        layers.AveragePooling2D(4, padding="same", strides=3),
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(keepdims=True),
        layers.AdaptiveAveragePooling2D(2),
        layers.Cropping2D(1),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.BatchNormalization(scale=False, center=False),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_constants_pass(middle):
    # Layers made at collection have a Keras backend state of their own; a clone belongs to this test.
    model = around(type(middle).from_config(middle.get_config()))
    set_units(model.get_layer("first").kernel, (0, 4))
    assert lost(checked(model))["first"] == (6, 4)


@pytest.mark.slow
def test_slopes_for_each_place_move_a_negative_constant():
    model = around(layers.PReLU(name="slopes"))
    set_units(model.get_layer("first").kernel, (0, 4))
    set_units(model.get_layer("first").bias, (0,), value=0.5)
    set_units(model.get_layer("first").bias, (4,), value=-0.5)
    compacted = checked(model)
    assert lost(compacted) == {"first": (6, 5), "slopes": (6, 5)}


@pytest.mark.slow
def test_zeros_around_a_constant():
    model = around(layers.ZeroPadding2D(1, name="pad"))
    set_units(model.get_layer("first").kernel, (0, 4))
    set_units(model.get_layer("first").bias, (4,))
    compacted = checked(model)
    assert lost(compacted) == {"first": (6, 5)}
    assert reasons(compacted, "first") == "`pad`: it puts zeros around a constant"


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_constants_in_one_frame_of_zeros_are_merged(padding):
    model = around(layers.ZeroPadding2D(1), layers.Conv2D(4, 3, padding=padding))
    set_units(model.get_layer("first").kernel, (0, 2, 4))
    assert lost(checked(model)) == {"first": (6, 4)}


@pytest.mark.slow
def test_two_frames_of_zeros_are_two_constants():
    inputs = keras.Input((6, 6, 2))
    parts = []
    for name, padding in (("one", 1), ("two", ((2, 0), (0, 2)))):
        x = layers.Dense(4, name=name)(inputs)
        parts.append(layers.ZeroPadding2D(padding)(x))
    x = layers.Conv2D(4, 3)(layers.Concatenate()(parts))
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    for name in ("one", "two"):
        set_units(model.get_layer(name).kernel, (0, 2))
    assert lost(checked(model)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"])
def test_normalising_over_channels_keeps_them(name):
    options = {"groups": 2} if name == "GroupNormalization" else {}
    model = around(getattr(layers, name)(name="norm", **options))
    set_units(model.get_layer("first").kernel, (0, 4))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert reasons(compacted, "first") == "`norm`: it normalises over channels, so that each depends on all"
    (line,) = [one for one in compacted.kept if one.layer == "first"]
    assert line.number == 2


@pytest.mark.slow
def test_softmax_over_channels_keeps_them():
    model = around(layers.Softmax(name="mixed"))
    set_units(model.get_layer("first").kernel, (0, 4))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert "`mixed`: it divides by a sum" in reasons(compacted, "first")


@pytest.mark.slow
def test_an_activation_shared_by_two_widths():
    relu = layers.ReLU()
    inputs = keras.Input((5,))
    x = relu(layers.Dense(6, name="one")(inputs))
    x = relu(layers.Dense(7, name="two")(x))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("one").kernel, (0, 1))
    assert lost(checked(model)) == {"one": (6, 4)}
