"""Sums, products, extremes and concatenation of several tensors."""

from __future__ import annotations

import keras
import pytest

from tests.support.compacted import checked, lost, randomized, reasons, set_units

layers = keras.layers


def two(merge) -> keras.Model:
    inputs = keras.Input((5,))
    a = layers.Dense(6, name="a")(inputs)
    b = layers.Dense(6, name="b")(inputs)
    return randomized(keras.Model(inputs, layers.Dense(3, name="out")(merge([a, b]))))


def test_a_channel_of_a_sum_goes_where_all_branches_are_constant():
    model = two(layers.Add(name="add"))
    set_units(model.get_layer("a").kernel, (0, 1, 2))
    set_units(model.get_layer("b").kernel, (1, 2, 3))
    compacted = checked(model)
    assert lost(compacted) == {"a": (6, 4), "b": (6, 4)}
    assert reasons(compacted, "a") == "other layers need the channel that it is joined with"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Add", "Subtract", "Average", "Maximum", "Minimum", "Multiply"])
@pytest.mark.parametrize("operation", [False, True])
def test_every_merge(name, operation):
    operations = {
        "Add": lambda x: x[0] + x[1],
        "Subtract": lambda x: x[0] - x[1],
        "Multiply": lambda x: x[0] * x[1],
        "Maximum": lambda x: keras.ops.maximum(*x),
        "Minimum": lambda x: keras.ops.minimum(*x),
    }
    if operation and name not in operations:
        pytest.skip("there is no such operation")
    model = two(operations[name] if operation else getattr(layers, name)())
    for layer in "ab":
        set_units(model.get_layer(layer).kernel, (1, 2))
    assert lost(checked(model)) == {"a": (6, 4), "b": (6, 4)}


@pytest.mark.slow
def test_operations_with_a_number():
    model = two(lambda x: keras.ops.relu(2.0 * x[0] - 1) + x[1] * 0.5)
    for layer in "ab":
        set_units(model.get_layer(layer).kernel, (1, 2))
    assert lost(checked(model)) == {"a": (6, 4), "b": (6, 4)}


@pytest.mark.slow
def test_a_factor_of_zero_makes_the_product_zero():
    model = two(layers.Multiply())
    for weight in model.get_layer("a").weights:
        set_units(weight, (1, 2))
    assert lost(checked(model)) == {"a": (6, 4), "b": (6, 4)}


@pytest.mark.slow
def test_a_channel_that_nothing_reads_goes_from_all_branches():
    model = two(layers.Add())
    set_units(model.get_layer("out").kernel, (3,), axis=0)
    assert lost(checked(model)) == {"a": (6, 5), "b": (6, 5)}


@pytest.mark.slow
def test_a_sum_with_the_input_stays():
    inputs = keras.Input((6,))
    x = layers.Add()([inputs, layers.Dense(6, name="a")(inputs)])
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    set_units(model.get_layer("a").kernel, (1,))
    compacted = checked(model)
    assert lost(compacted) == {}
    assert reasons(compacted, "a")


@pytest.mark.slow
def test_one_gate_for_each_channel():
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(6, 3, name="conv")(inputs)
    gate = layers.Dense(6, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    one = layers.Dense(1, name="one")(x)
    x = layers.Multiply()([layers.Multiply()([x, gate]), one])
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))))
    for weight in model.get_layer("conv").weights:
        set_units(weight, (1, 4))
    assert lost(checked(model)) == {"conv": (6, 4), "gate": (6, 4)}


def test_concatenation_keeps_the_places():
    model = two(layers.Concatenate())
    set_units(model.get_layer("a").kernel, (0, 1, 5))
    set_units(model.get_layer("b").kernel, (2,))
    compacted = checked(model)
    assert lost(compacted) == {"a": (6, 3), "b": (6, 5)}
    assert compacted.model.get_layer("out").kernel.shape == (8, 3)


@pytest.mark.slow
def test_concatenation_along_time():
    inputs = keras.Input((4, 3))
    parts = [layers.Dense(6, name=name)(inputs) for name in "ab"]
    x = layers.Flatten()(layers.Concatenate(axis=1)(parts))
    model = randomized(keras.Model(inputs, layers.Dense(2)(x)))
    for layer in "ab":
        set_units(model.get_layer(layer).kernel, (1, 2))
        set_units(model.get_layer(layer).bias, (1,), value=0.5)
    # The biases of unit 2 differ, so that it is not the same constant at all times.
    assert lost(checked(model)) == {"a": (6, 5), "b": (6, 5)}


@pytest.mark.slow
def test_a_residual_block():
    inputs = keras.Input((8, 8, 3))

    def conv(x, filters, name, size=3):
        x = layers.Conv2D(filters, size, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(name=f"{name}_norm")(x)

    x = layers.ReLU()(conv(inputs, 8, "stem"))
    y = layers.ReLU()(conv(x, 10, "inner"))
    y = conv(y, 8, "last")
    x = layers.ReLU()(layers.Add()([x, y]))
    model = randomized(keras.Model(inputs, layers.Dense(2, name="out")(layers.GlobalAveragePooling2D()(x))))
    set_units(model.get_layer("inner").kernel, (0, 1, 2, 3))
    for name in ("stem", "last"):
        set_units(model.get_layer(name).kernel, (5, 6))
        # Below zero, so that relu makes it 0 at the padded borders too.
        for part, value in (("gamma", 1.0), ("moving_mean", 1.0), ("beta", -0.5)):
            set_units(getattr(model.get_layer(f"{name}_norm"), part), (5, 6), value=value)
    for part, value in (("gamma", 1.0), ("moving_mean", 1.0), ("beta", -0.5)):
        set_units(getattr(model.get_layer("inner_norm"), part), (0, 1, 2, 3), value=value)
    expected = {"stem": (8, 6), "inner": (10, 6), "last": (8, 6)}
    assert lost(checked(model)) == expected | {f"{name}_norm": size for name, size in expected.items()}
