"""Autoencoder of sigmoid layers."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    hidden_units: Sequence[int] = (196,),
) -> keras.Model:
    """Flatten, Dense-sigmoid for each of `hidden_units`, the same backwards, then a linear head.

    For the task `reconstruction` the outputs are as many as the inputs, and their sigmoid, which is in the loss, is the
    decoder's. Non-negative weights (`--constraint=nonneg`) make the code a sum of parts of the input.

    Args:
        input_shape: shape of one example, any rank; it is flattened.
        num_outputs: number of outputs: inputs for a reconstruction, or anything else that is to be told of the input.
        hidden_units: widths of the layers `encoder_1`, `encoder_2`, ...; the last is the code. The decoder's
            `decoder_1`, `decoder_2`, ... have the widths before it, backwards.

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the sigmoid is in the
        loss.

    Raises:
        ValueError: for text, or a width that is no positive integer.

    References:
        Hosseini-Asl, Zurada and Nasraoui, "Deep learning of part-based representation of data using sparse autoencoders
        with nonnegativity constraints", 2016 (784-196-784 for MNIST).
    """
    hidden_units = _blocks.counts("hidden_units", hidden_units, at_least=1)
    inputs = _blocks.features(input_shape)
    _blocks.no_text(inputs, "autoencoder", "numbers")
    x = keras.layers.Flatten(name="flatten")(inputs)
    x = _blocks.dense(x, hidden_units, "sigmoid", "encoder")
    x = _blocks.dense(x, hidden_units[-2::-1], "sigmoid", "decoder")
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="autoencoder")
