"""Multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: Sequence[int],
    num_outputs: int,
    *,
    hidden_units: Sequence[int] = (300, 100),
    dropout: float = 0.0,
) -> keras.Model:
    """Flatten, then Dense-relu(-dropout) for each of `hidden_units`, then a linear head.

    Args:
        input_shape: shape of one example, any rank; it is flattened.
        num_outputs: number of logits: classes, or 1 for two classes.
        hidden_units: widths of the layers `hidden_1`, `hidden_2`, ...; empty for a linear model.
        dropout: share of each hidden layer's outputs that training drops, in [0, 1).

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss.

    Raises:
        ValueError: for a width that is no positive integer or a dropout outside [0, 1).

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998
        (784-300-100-10).
    """
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = keras.layers.Flatten(name="flatten")(inputs)
    for i, units in enumerate(_blocks.counts("hidden_units", hidden_units), start=1):
        x = keras.layers.Dense(units, activation="relu", name=f"hidden_{i}")(x)
        x = _blocks.dropped(x, dropout, f"dropout_{i}")
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="mlp")
