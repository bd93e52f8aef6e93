"""Convolutions: borders decide whether a constant may be folded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def convnet(second: layers.Layer, *, activation: str = "relu") -> keras.Model:
    inputs = keras.Input((6, 6, 2))
    x = layers.Conv2D(8, 3, padding="same", activation=activation, name="first")(inputs)
    x = second(x)
    x = layers.Flatten()(x)
    return randomized(keras.Model(inputs, layers.Dense(3, name="out")(x)))


def zero_first(model: keras.Model, filters: tuple[int, ...], bias: float | None = None) -> None:
    set_units(model.get_layer("first").kernel, filters)
    if bias is not None:
        set_units(model.get_layer("first").bias, filters, value=bias)


def test_filters_through_flatten():
    model = convnet(layers.Conv2D(6, 3, name="second"))
    zero_first(model, (0, 1, 5))
    set_units(model.get_layer("second").kernel, (2,))
    compacted = checked(model)
    assert lost(compacted) == {"first": (8, 5), "second": (6, 5)}
    assert compacted.model.get_layer("out").kernel.shape == (4 * 4 * 5, 3)


@pytest.mark.parametrize(
    ("padding", "size", "after"),
    [
        ("same", 3, 6),
        pytest.param("valid", 3, 5, marks=pytest.mark.slow),
        pytest.param("same", 1, 5, marks=pytest.mark.slow),
    ],
)
def test_one_constant_stands_for_all_where_the_border_is_padded(padding, size, after):
    model = convnet(layers.Conv2D(4, size, padding=padding, name="second"))
    zero_first(model, (0, 1, 5))
    set_units(model.get_layer("first").bias, (0, 1, 5), value=0.7)
    set_units(model.get_layer("first").bias, (1,), value=1.4)
    compacted = checked(model)
    assert lost(compacted) == {"first": (8, after)}
    assert ("pads with zeros" in reasons(compacted, "first")) == (after == 6)


@pytest.mark.slow
def test_a_constant_of_zero_goes_through_a_padded_border():
    model = convnet(layers.Conv2D(4, 3, padding="same", use_bias=False, name="second"))
    # relu(-1) is 0.
    zero_first(model, (0, 1, 5), bias=-1.0)
    compacted = checked(model)
    assert lost(compacted) == {"first": (8, 5)}
    assert not compacted.model.get_layer("second").use_bias


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zeros", "reads", "expected"),
    [
        # A whole group: its filters are constant too.
        ((0, 1), (), {"first": (8, 6), "second": (8, 6)}),
        # One input of each group.
        ((0, 2, 5, 7), (), {"first": (8, 4)}),
        # One input of one group: the groups would differ.
        ((0,), (), {}),
        # A filter of each group that nothing reads.
        ((), (0, 3, 4, 7), {"second": (8, 4)}),
        ((), (0, 3, 4), {}),
    ],
)
def test_groups(zeros, reads, expected):
    model = convnet(layers.Conv2D(8, 3, groups=4, name="second"))
    zero_first(model, zeros, bias=0.5)
    for place in range(16):
        set_units(model.get_layer("out").kernel, [place * 8 + filter for filter in reads], axis=0)
    compacted = checked(model)
    assert lost(compacted) == expected
    if not expected:
        assert "groups" in reasons(compacted, "first") + reasons(compacted, "second")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Conv1D", "Conv3D"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_other_ranks(kind, padding):
    rank = int(kind[4])
    inputs = keras.Input((*[5] * rank, 2))
    x = getattr(layers, kind)(6, 2, padding=padding, activation="tanh", name="first")(inputs)
    x = getattr(layers, kind)(5, 2, padding="valid", strides=2, name="second")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    zero_first(model, (0, 3))
    assert lost(checked(model)) == {"first": (6, 4)}


@pytest.mark.slow
def test_causal_convolutions_pad():
    inputs = keras.Input((5, 2))
    x = layers.Conv1D(6, 2, padding="causal", activation="sigmoid", name="first")(inputs)
    x = layers.Conv1D(5, 2, padding="causal", dilation_rate=2, name="second")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    zero_first(model, (0, 3, 4))
    assert lost(checked(model)) == {"first": (6, 4)}


@pytest.mark.slow
@pytest.mark.parametrize(("size", "strides", "after"), [(3, 2, 6), (2, 2, 6), (1, 1, 5)])
def test_transposed(size, strides, after):
    model = convnet(layers.Conv2DTranspose(4, size, strides=strides, name="second"))
    zero_first(model, (0, 1, 5), bias=0.7)
    set_units(model.get_layer("second").kernel, (1,), axis=-2)
    assert lost(checked(model)) == {"first": (8, after), "second": (4, 3)}


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise(padding, multiplier):
    model = convnet(layers.DepthwiseConv2D(3, padding=padding, depth_multiplier=multiplier, name="second"))
    zero_first(model, (0, 1), bias=0.7)
    # The filters of channel 5 are zero: what it makes is their bias.
    set_units(model.get_layer("second").kernel, (5,), axis=-2)
    compacted = checked(model)
    after = 5 if padding == "valid" else 7
    assert lost(compacted) == {"first": (8, after), "second": (8 * multiplier, after * multiplier)}
    assert ("pads with zeros" in reasons(compacted, "first")) == (padding == "same")


@pytest.mark.slow
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_separable(padding):
    model = convnet(layers.SeparableConv2D(6, 3, padding=padding, depth_multiplier=2, name="second"))
    zero_first(model, (0, 1), bias=0.7)
    set_units(model.get_layer("second").depthwise_kernel, (5,), axis=-2)
    set_units(model.get_layer("second").pointwise_kernel, (4,))
    compacted = checked(model)
    assert lost(compacted) == {"first": (8, 5 if padding == "valid" else 7), "second": (6, 5)}


@pytest.mark.slow
def test_channels_first_is_named():
    inputs = keras.Input((2, 6, 6))
    x = layers.Dense(6, activation="relu", name="hidden")(inputs)
    x = layers.MaxPooling2D(2, data_format="channels_first", name="pool")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    set_units(model.get_layer("hidden").kernel, (1,))
    from trainer.export.compact import compact

    compacted = compact(model)
    assert lost(compacted) == {}
    assert "channels_first" in reasons(compacted, "pool")


@pytest.mark.slow
def test_many_constants_of_both_signs_are_merged_exactly():
    model = convnet(layers.Conv2D(4, 3, padding="same", name="second"), activation="linear")
    zero_first(model, (0, 1, 2, 3, 4))
    model.get_layer("first").bias.assign(np.array([1e-3, -2.0, 0.5, 3.0, 0.0, 1, 1, 1]))
    assert lost(checked(model)) == {"first": (8, 4)}
