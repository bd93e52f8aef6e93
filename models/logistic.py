"""Logistic regression."""

from __future__ import annotations

import keras

from . import _blocks


def build(input_shape: _blocks.InputShape, num_outputs: int) -> keras.Model:
    """One linear layer: with the sigmoid or softmax of the loss, (multinomial) logistic regression.

    Args:
        input_shape: shape of one example, any rank; it is flattened.
        num_outputs: number of logits: classes, or 1 for two classes.

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss.

    Raises:
        ValueError: for text, which a linear layer would take for amounts; `mlp` without hidden layers averages words.
    """
    inputs = _blocks.features(input_shape)
    _blocks.no_text(inputs, "logistic", "numbers")
    x = keras.layers.Flatten(name="flatten")(inputs)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="logistic")
