"""TimeDistributed."""

from __future__ import annotations

import keras
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def network(inner: layers.Layer, shape=(3, 6, 6, 2)) -> keras.Model:
    inputs = keras.Input(shape)
    x = layers.TimeDistributed(layers.Conv2D(5, 3, activation="relu", name="conv"), name="first")(inputs)
    x = layers.TimeDistributed(inner, name="steps")(x)
    return randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inner", "more"),
    [
        (layers.Flatten(), {}),
        (layers.GlobalAveragePooling2D(), {}),
        (layers.BatchNormalization(), {"steps": (5, 3)}),
        (layers.Conv2D(4, 2), {}),
        (layers.DepthwiseConv2D(2), {"steps": (5, 3)}),
    ],
)
def test_the_layer_inside_is_followed(inner, more):
    model = network(type(inner).from_config(inner.get_config()))
    set_units(model.get_layer("first").layer.kernel, (1, 4))
    compacted = checked(model)
    found = lost(compacted)
    assert {"first" if name == "conv" else name for name in found} >= {"first"}
    assert set(found.values()) == {(5, 3)}
    assert len(found) == 1 + len(more)


@pytest.mark.slow
def test_a_wrapper_in_a_wrapper():
    inputs = keras.Input((3, 4, 2))
    both = layers.Bidirectional(layers.LSTM(5), name="both")
    x = layers.TimeDistributed(layers.TimeDistributed(layers.Dense(6, activation="relu", name="dense")), name="a")(
        inputs
    )
    x = layers.TimeDistributed(both, name="b")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    set_units(model.get_layer("a").layer.layer.kernel, (1, 4))
    inner = model.get_layer("b").layer
    for side in (inner.forward_layer, inner.backward_layer):
        for weight in side.weights:
            set_units(weight, [gate * 5 + unit for gate in range(4) for unit in (0, 3)])
    compacted = checked(model)
    assert set(lost(compacted).values()) == {(6, 4), (5, 3)}
    assert compacted.model.get_layer("a").layer.layer.name == "dense"


@pytest.mark.slow
def test_an_unknown_layer_inside_is_named():
    model = network(layers.LayerNormalization(name="norm"))
    set_units(model.get_layer("first").layer.kernel, (1, 4))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert "normalises over channels" in reasons(compacted, "steps")
