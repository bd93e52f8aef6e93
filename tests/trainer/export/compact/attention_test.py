"""MultiHeadAttention: heads that add nothing or a constant."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def network(*, call=lambda layer, x: layer(x, x), **options) -> keras.Model:
    inputs = keras.Input((5, 4))
    x = layers.Dense(6, activation="sigmoid", name="before")(inputs)
    x = call(layers.MultiHeadAttention(4, 3, value_dim=2, name="attention", **options), x)
    x = x[0] if isinstance(x, list | tuple) else x
    return randomized(keras.Model(inputs, layers.Dense(2, name="out")(layers.Flatten()(x))))


def value(model: keras.Model):
    return model.get_layer("attention").value_dense


def test_heads_without_value_or_without_output_go():
    model = network()
    set_units(value(model).kernel, (0,), axis=1)
    set_units(model.get_layer("attention").output_dense.kernel, (2,), axis=0)
    compacted = checked(model)
    assert lost(compacted) == {"attention heads": (4, 2)}
    shapes = [tuple(weight.shape) for weight in compacted.model.get_layer("attention").weights]
    assert shapes == [(6, 2, 3), (2, 3), (6, 2, 3), (2, 3), (6, 2, 2), (2, 2), (2, 2, 6), (6,)]


@pytest.mark.slow
def test_columns_and_constant_inputs():
    model = network()
    set_units(model.get_layer("before").kernel, (1, 3))
    for place in range(5):
        set_units(model.get_layer("out").kernel, (place * 6 + 2,), axis=0)
    compacted = checked(model)
    assert lost(compacted) == {"before": (6, 4), "attention": (6, 5)}
    assert compacted.model.get_layer("attention").get_config()["output_shape"] == (5,)


@pytest.mark.slow
def test_a_constant_input_stays_where_there_is_no_bias():
    model = network(use_bias=False)
    set_units(model.get_layer("before").kernel, (1, 3))
    set_units(value(model).kernel, (0,), axis=1)
    compacted = checked(model)
    assert lost(compacted) == {"attention heads": (4, 3)}
    assert "no bias" in reasons(compacted, "before")


@pytest.mark.slow
def test_a_masked_head_with_a_constant_stays():
    mask = np.ones((1, 5, 5), dtype=bool)
    mask[:, 0] = False

    def call(layer, x):
        return layer(x, x, attention_mask=keras.ops.convert_to_tensor(mask))

    model = network(call=call)
    set_units(value(model).kernel, (0, 1), axis=1)
    assert lost(checked(model)) == {}
    set_units(value(model).bias, (0,), axis=0)
    assert lost(checked(model)) == {"attention heads": (4, 3)}


@pytest.mark.slow
def test_scores_name_the_heads():
    inputs = keras.Input((5, 4))
    layer = layers.MultiHeadAttention(4, 3, name="attention")
    x, scores = layer(inputs, inputs, return_attention_scores=True)
    model = randomized(keras.Model(inputs, [layers.Dense(2)(x), scores]))
    set_units(layer.value_dense.kernel, (0,), axis=1)
    compacted = checked(model)
    assert lost(compacted) == {}
    assert "scores of all heads" in reasons(compacted, "attention")


@pytest.mark.slow
def test_query_and_value_of_two_sources():
    query, memory = keras.Input((3, 4)), keras.Input((5, 6))
    layer = layers.MultiHeadAttention(4, 3, name="attention")
    keys = layers.Dense(7, activation="relu", name="keys")(memory)
    x = layer(layers.Dense(5, name="query")(query), layers.Dense(6, name="values")(memory), keys)
    model = randomized(keras.Model([query, memory], layers.Dense(2)(x)))
    set_units(model.get_layer("keys").kernel, (0, 1))
    set_units(model.get_layer("values").kernel, (2,))
    set_units(layer.value_dense.kernel, (1,), axis=1)
    compacted = checked(model)
    assert lost(compacted) == {"keys": (7, 5), "values": (6, 5), "attention heads": (4, 3)}


@pytest.mark.slow
def test_a_shared_layer_with_two_constants_keeps_the_head():
    inputs = keras.Input((5, 4))
    layer = layers.MultiHeadAttention(2, 3, name="attention")
    ones, twos = (layers.Dense(4, name=name)(inputs) for name in ("ones", "twos"))
    x = layers.Concatenate()([layer(inputs, ones), layer(inputs, twos)])
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    # Head 0 reads channel 0 of the values alone, which is another constant in each call.
    for name, constant in (("ones", 1.0), ("twos", 2.0)):
        set_units(model.get_layer(name).kernel, (0,))
        set_units(model.get_layer(name).bias, (0,), value=constant)
    kernel = np.array(layer.value_dense.kernel[:])
    kernel[1:, 0] = 0
    layer.value_dense.kernel.assign(kernel)
    assert lost(checked(model)) == {}
