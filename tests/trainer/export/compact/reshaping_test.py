"""Flatten, Reshape, Permute, RepeatVector."""

from __future__ import annotations

import keras
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def around(middle, shape=(4, 4, 2)) -> keras.Model:
    inputs = keras.Input(shape)
    x = middle(layers.Dense(6, activation="sigmoid", name="first")(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="out")(layers.Flatten()(x)))
    model = randomized(model)
    set_units(model.get_layer("first").kernel, (0, 4))
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("middle", "after"),
    [
        (layers.Flatten(), 4),
        (layers.Reshape((16, 6)), 4),
        (layers.Reshape((-1, 6)), 4),
        (layers.Reshape((4, 24)), 4),
        (layers.Reshape((2, 48)), 4),
        (layers.Permute((2, 1, 3)), 4),
        # A channel moves between channels, or to another axis.
        (layers.Reshape((24, 4)), 6),
        (layers.Permute((3, 1, 2)), 6),
    ],
)
def test_channels_that_keep_their_axis(middle, after):
    model = around(type(middle).from_config(middle.get_config()))
    compacted = checked(model)
    assert lost(compacted).get("first", (6, 6)) == (6, after)
    assert (after == 6) == bool(reasons(compacted, "first"))


@pytest.mark.slow
def test_channels_that_become_several_axes_go_together():
    # Units 0, 2, 4 and 1, 3, 5 share a channel.
    model = around(layers.Reshape((4, 4, 3, 2)))
    assert lost(checked(model)) == {}
    set_units(model.get_layer("first").kernel, (0, 2, 4))
    set_units(model.get_layer("first").bias, (0, 2, 4), value=0.3)
    assert lost(checked(model)) == {"first": (6, 3)}


@pytest.mark.slow
def test_a_vector_that_is_repeated_and_reshaped():
    inputs = keras.Input((5,))
    x = layers.Dense(6, activation="sigmoid", name="first")(inputs)
    x = layers.RepeatVector(4)(x)
    x = layers.Reshape((2, 2, 6))(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    set_units(model.get_layer("first").kernel, (0, 4))
    compacted = checked(model)
    assert lost(compacted) == {"first": (6, 4)}
