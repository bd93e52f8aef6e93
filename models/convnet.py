"""Convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    filters: Sequence[int] = (32, 64),
    hidden_units: Sequence[int] = (),
    dropout: float = 0.0,
) -> keras.Model:
    """Conv2D 3x3-relu-MaxPooling 2x2 for each of `filters`, Dense-relu for each of `hidden_units`, then a linear head.

    Convolutions are unpadded, Keras's default, so that `filters=(32,)` is the textbook network; only where that would
    leave less than 2x2 to pool (a map smaller than 4x4) are they zero-padded, which lets 8x8 images through two of
    them: 8-6-3-3-1.

    Args:
        input_shape: (height, width, channels), or (height, width) for one channel.
        num_outputs: number of logits: classes, or 1 for two classes.
        filters: numbers of filters of the layers `conv_1`, `conv_2`, ...; each halves the image.
        hidden_units: widths of the dense layers `hidden_1`, `hidden_2`, ... before the head.
        dropout: share of the flattened map and of each hidden layer's outputs that training drops, in [0, 1).

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss.

    Raises:
        ValueError: for features that are no image, more convolutions than the image can be halved, or an invalid
            option.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
    """
    filters = _blocks.counts("filters", filters, at_least=1)
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = _blocks.convolutions(_blocks.image(inputs, "convnet"), filters, 3, "relu")
    x = keras.layers.Flatten(name="flatten")(x)
    x = _blocks.dropped(x, dropout, "dropout_0")
    x = _blocks.dense(x, _blocks.counts("hidden_units", hidden_units), dropout=dropout)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="convnet")
