"""Dense, EinsumDense and Embedding: what they make for nothing goes, and constants move into biases."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units
from trainer.export.compact import compact

layers = keras.layers


def mlp(**options) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(8, activation="sigmoid", name="one", **options),
            layers.Dense(6, activation="relu", name="two", **options),
            layers.Dense(3, name="out", **options),
        ]
    )
    return randomized(model)


def test_units_without_inputs_become_part_of_the_next_bias():
    model = mlp()
    set_units(model.get_layer("one").kernel, (0, 3, 4))
    compacted = checked(model)
    assert lost(compacted) == {"one": (8, 5)}
    # sigmoid(bias) through the kernel of the next layer.
    one, two = model.get_layer("one"), model.get_layer("two")
    constant = 1 / (1 + np.exp(-np.array(one.bias[:])[[0, 3, 4]].astype("float64")))
    expected = np.array(two.bias[:]) + constant @ np.array(two.kernel[:])[[0, 3, 4]]
    np.testing.assert_allclose(compacted.model.get_layer("two").bias[:], expected, rtol=1e-6)
    assert compacted.parameters_before - compacted.parameters_after == 3 * (5 + 1 + 6)
    assert compacted.multiply_adds_before - compacted.multiply_adds_after == 3 * (5 + 6)


@pytest.mark.slow
def test_units_that_nothing_reads_go_and_so_does_what_only_they_read():
    model = mlp()
    set_units(model.get_layer("out").kernel, (1, 2), axis=0)
    # The first layer's unit 5 is read by those two only.
    kernel = np.array(model.get_layer("two").kernel[:])
    kernel[5, [0, 3, 4, 5]] = 0
    model.get_layer("two").kernel.assign(kernel)
    assert lost(checked(model)) == {"one": (8, 7), "two": (6, 4)}


@pytest.mark.slow
def test_a_bias_is_added_where_there_was_none():
    model = mlp(use_bias=False)
    set_units(model.get_layer("one").kernel, (0, 3))
    compacted = checked(model)
    # sigmoid(0) is 0.5.
    assert lost(compacted) == {"one": (8, 6)}
    assert [compacted.model.get_layer(name).use_bias for name in ("one", "two", "out")] == [False, True, False]


@pytest.mark.slow
def test_a_model_of_zeros_keeps_one_unit_a_layer():
    model = mlp()
    for layer in ("one", "two"):
        model.get_layer(layer).kernel.assign(np.zeros(model.get_layer(layer).kernel.shape))
    compacted = checked(model)
    assert lost(compacted) == {"one": (8, 1), "two": (6, 1)}
    assert "at least one unit" in reasons(compacted, "two")


@pytest.mark.slow
def test_outputs_stay_and_are_named():
    model = mlp()
    set_units(model.get_layer("out").kernel, (1,))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert reasons(compacted, "out") == "an output of the model"


@pytest.mark.slow
def test_a_layer_as_an_activation():
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6, activation=layers.LeakyReLU(0.2), name="one")])
    model.add(layers.Dense(2))
    set_units(randomized(model).get_layer("one").kernel, (0, 3))
    assert lost(checked(model)) == {"one": (6, 4)}


@pytest.mark.slow
def test_softmax_keeps_its_units():
    x = inputs = keras.Input((5,))
    x = layers.Dense(6, activation="softmax", name="mixed")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("mixed").kernel, (0,))
    set_units(model.layers[-1].kernel, (1,), axis=0)
    compacted = checked(model)
    assert lost(compacted) == {}
    assert "treat each channel alone" in reasons(compacted, "mixed")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("equation", "shape", "output_shape", "bias_axes", "expected"),
    [
        ("...x,xy->...y", (4,), (6,), "y", 4),
        ("...x,xy->...y", (3, 4), (6,), None, 4),
        ("bpc,cd->bpd", (3, 4), (3, 6), "pd", 4),
        ("bpc,dc->bpd", (3, 4), (3, 6), "d", 4),
        ("bpc,pcd->bd", (3, 4), (6,), "d", 4),
        # The constant is merged into another one, as there is no bias for each place and channel alone.
        ("bpc,pcd->bpd", (3, 4), (3, 6), "pd", 5),
        ("bpc,cd->bpd", (3, 4), (3, 6), "p", 5),
        # The last axis of the input is not summed.
        ("bpc,pd->bcd", (3, 4), (6, 6), "d", 6),
    ],
)
def test_einsum(equation, shape, output_shape, bias_axes, expected):
    inputs = keras.Input(shape)
    x = layers.Dense(6, activation="sigmoid", name="before")(inputs)
    x = layers.EinsumDense(equation, output_shape, bias_axes=bias_axes, activation="relu", name="einsum")(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    set_units(model.get_layer("before").kernel, (1, 4))
    assert lost(checked(model)).get("before", (6, 6)) == (6, expected)


@pytest.mark.slow
def test_columns_of_an_embedding():
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(6, 5, name="table", mask_zero=True)(inputs)
    x = layers.GlobalAveragePooling1D()(x)
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("table").embeddings, (0, 2))
    set_units(model.get_layer("table").embeddings, (3,), value=1.5)
    assert lost(checked(model)) == {"table": (5, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", "float16"])
def test_dtype_policies_stay(policy):
    model = mlp(dtype=policy)
    set_units(model.get_layer("one").kernel, (0, 3, 4))
    compacted = checked(model, close=1e-6 if policy == "float64" else 0.05)
    assert lost(compacted) == {"one": (8, 5)}
    for layer in compacted.model.layers[1:]:
        assert layer.dtype_policy.name == policy
        assert {weight.dtype for weight in layer.weights} == {model.get_layer("one").variable_dtype}


@pytest.mark.slow
def test_a_quantised_layer_stays():
    model = mlp()
    set_units(model.get_layer("one").kernel, (0, 3, 4))
    model.get_layer("two").quantize("int8")
    compacted = compact(model)
    assert lost(compacted) == {}
    assert "quantised" in reasons(compacted, "two")
