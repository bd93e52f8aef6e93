"""Multiply-adds, counted by hand."""

from __future__ import annotations

import keras
import pytest

from trainer.export.compact import multiply_adds

layers = keras.layers


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Dense(3), (4,), 4 * 3),
        (layers.Dense(3), (5, 4), 5 * 4 * 3),
        (layers.EinsumDense("abc,cde->abde", (5, 3, 2)), (5, 4), 5 * 4 * 3 * 2),
        (layers.EinsumDense("...x,xy->...y", 3), (5, 4), 5 * 4 * 3),
        (layers.Conv2D(3, 2, strides=2), (6, 6, 4), 9 * 2 * 2 * 4 * 3),
        (layers.Conv2D(4, 2, groups=2, padding="same"), (6, 6, 4), 36 * 2 * 2 * 2 * 4),
        (layers.Conv2DTranspose(3, 2, strides=2), (6, 6, 4), 36 * 2 * 2 * 4 * 3),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 6, 4), 16 * 9 * 4 * 2),
        (layers.SeparableConv2D(5, 3), (6, 6, 4), 16 * (9 * 4 + 4 * 5)),
        (layers.LSTM(3), (7, 4), 7 * (4 + 3) * 12),
        (layers.Bidirectional(layers.GRU(3)), (7, 4), 2 * 7 * (4 + 3) * 9),
        (layers.TimeDistributed(layers.Dense(3)), (5, 4), 5 * 4 * 3),
        (layers.BatchNormalization(), (4,), 0),
    ],
)
def test_one_layer(layer, shape, expected):
    model = keras.Sequential([keras.Input(shape), type(layer).from_config(layer.get_config())])
    assert multiply_adds(model) == expected


def test_attention_and_a_nested_model_that_is_called_twice():
    inputs = keras.Input((5, 4))
    x = layers.MultiHeadAttention(2, 3, value_dim=6)(inputs, inputs)
    attention = 5 * (4 * 2 * 3 * 2 + 4 * 2 * 6 * 2) + 5 * 5 * 2 * (3 + 6)
    assert multiply_adds(keras.Model(inputs, x)) == attention
    inner = keras.Sequential([keras.Input((5, 4)), layers.Dense(4)])
    assert multiply_adds(keras.Model(inputs, inner(inner(x)))) == attention + 2 * 5 * 4 * 4
