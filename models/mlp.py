"""Multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    hidden_units: Sequence[int] = (300, 100),
    dropout: float = 0.0,
    embedding_dim: int | None = None,
) -> keras.Model:
    """Flatten, then Dense-relu(-dropout) for each of `hidden_units`, then a linear head.

    Of a text the mean of its tokens' vectors is taken in place of Flatten; padding is a token like any other there.

    Args:
        input_shape: shape of one example, any rank, or the `Tokens` of a text.
        num_outputs: number of logits: classes, or 1 for two classes.
        hidden_units: widths of the layers `hidden_1`, `hidden_2`, ...; empty for a linear model.
        dropout: share of each hidden layer's outputs that training drops, in [0, 1).
        embedding_dim: of text, length of the vector that stands for a token; None: 128.

    Returns:
        A model from float32 features `[batch, *input_shape]`, or int32 tokens `[batch, length]`, to logits `[batch,
        num_outputs]`; the softmax or sigmoid is in the loss.

    Raises:
        ValueError: for a width that is no positive integer, a dropout outside [0, 1), or an `embedding_dim` of numbers.

    References:
        LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998
        (784-300-100-10).
        Iyyer, Manjunatha, Boyd-Graber and Daume, "Deep unordered composition rivals syntactic methods for text
        classification", 2015 (the mean of a text's vectors).
    """
    dropout = _blocks.share("dropout", dropout)
    hidden_units = _blocks.counts("hidden_units", hidden_units)
    inputs = _blocks.features(input_shape)
    x = _blocks.numbers(inputs, input_shape, embedding_dim)
    if isinstance(input_shape, _blocks.Tokens):
        x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    else:
        x = keras.layers.Flatten(name="flatten")(x)
    x = _blocks.dense(x, hidden_units, dropout=dropout)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="mlp")
