"""Convolutional network for sentences."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    kernel_sizes: Sequence[int] = (3, 4, 5),
    filters: Sequence[int] = (100, 100, 100),
    dropout: float = 0.5,
    embedding_dim: int | None = None,
) -> keras.Model:
    """Conv1D-relu over the words with kernels of several sizes, the largest value of each filter, then a linear head.

    Convolutions are zero-padded, so that a text may be shorter than a kernel. Padding tokens are read like any other;
    the filters learn to pass over them.

    Args:
        input_shape: the `Tokens` of a text; or numbers: (time, features), or an image (height, width, channels), read
            as height steps of width * channels.
        num_outputs: number of outputs, such as classes, or 1 for two classes.
        kernel_sizes: how many words the filters of the layers `conv_1`, `conv_2`, ... read at once; all read the same
            vectors.
        filters: numbers of filters of these layers.
        dropout: share of the largest values that training drops, in [0, 1).
        embedding_dim: of text, length of the vector that stands for a token; None: 128. Kim's vectors have 300.

    Returns:
        A model from int32 tokens `[batch, length]`, or float32 features `[batch, *input_shape]`, to logits `[batch,
        num_outputs]`; the softmax or sigmoid is in the loss.

    Raises:
        ValueError: for features that are no sequence, other than one number of filters for each kernel size, or an
            invalid option.

    References:
        Kim, "Convolutional neural networks for sentence classification", 2014 (CNN-rand; its max-norm of 3 on the last
        layer is `--constraint=maxnorm --max_value=3 --variables=output/kernel`).
    """
    kernel_sizes = _blocks.counts("kernel_sizes", kernel_sizes, at_least=1)
    filters = _blocks.counts("filters", filters)
    if len(filters) != len(kernel_sizes):
        raise ValueError(
            f"filters={filters} and kernel_sizes={kernel_sizes} must be equally many, one number of filters for each "
            "size."
        )
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = _blocks.sequence(_blocks.numbers(inputs, input_shape, embedding_dim), "textcnn")
    largest = []
    for i, (size, number) in enumerate(zip(kernel_sizes, filters, strict=True), start=1):
        y = keras.layers.Conv1D(number, size, padding="same", activation="relu", name=f"conv_{i}")(x)
        largest.append(keras.layers.GlobalMaxPooling1D(name=f"pool_{i}")(y))
    x = keras.layers.Concatenate(name="concatenate")(largest) if len(largest) > 1 else largest[0]
    x = _blocks.dropped(x, dropout, "dropout")
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="textcnn")
