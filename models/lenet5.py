"""LeNet-5 as Caffe and the papers on pruning have it."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    filters: Sequence[int] = (20, 50),
    hidden_units: Sequence[int] = (500,),
    dropout: float = 0.0,
) -> keras.Model:
    """Conv2D 5x5-MaxPooling 2x2 for each of `filters`, Dense-relu for each of `hidden_units`, then a linear head.

    Nothing but the pooling follows a convolution, as in Caffe. Of 28x28 images with one channel and ten classes this
    is the network of 431 080 weights. Convolutions are unpadded; they are zero-padded only where less than 2x2 would
    be left to pool, which lets 8x8 images through two of them.

    Args:
        input_shape: (height, width, channels), or (height, width) for one channel.
        num_outputs: number of outputs, such as classes, or 1 for two classes.
        filters: numbers of filters of the layers `conv_1`, `conv_2`, ...; each halves the image.
        hidden_units: widths of the dense layers `hidden_1`, `hidden_2`, ... before the head.
        dropout: share of each hidden layer's outputs that training drops, in [0, 1).

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss.

    Raises:
        ValueError: for features that are no image, more convolutions than the image can be halved, or an invalid
            option.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998.
        Jia et al., "Caffe: convolutional architecture for fast feature embedding", 2014 (this variant).
        Han, Pool, Tran and Dally, "Learning both weights and connections for efficient neural networks", 2015.
    """
    filters = _blocks.counts("filters", filters, at_least=1)
    hidden_units = _blocks.counts("hidden_units", hidden_units)
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = _blocks.convolutions(_blocks.image(inputs, "lenet5"), filters, 5, None)
    x = keras.layers.Flatten(name="flatten")(x)
    x = _blocks.dense(x, hidden_units, dropout=dropout)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="lenet5")
