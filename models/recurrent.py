"""Recurrent networks: LSTM and GRU share everything but the layer."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from . import _blocks


def lstm(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    hidden_units: Sequence[int] = (64,),
    dropout: float = 0.0,
    embedding_dim: int | None = None,
) -> keras.Model:
    """LSTM layers over a sequence, a text, or an image row by row, then a linear head on the last state.

    The padding behind a text is passed over, so that the last state is that of its last word.

    Args:
        input_shape: (time, features), read as it is; or an image (height, width, channels), read as height steps of
            width * channels; or the `Tokens` of a text.
        num_outputs: number of logits: classes, or 1 for two classes.
        hidden_units: widths of the layers `lstm_1`, `lstm_2`, ...; all but the last hand on their whole sequence.
        dropout: share of each recurrent layer's outputs that training drops, in [0, 1); never inside the recurrence.
        embedding_dim: of text, length of the vector that stands for a token; None: 128.

    Returns:
        A model from float32 features `[batch, *input_shape]`, or int32 tokens `[batch, length]`, to logits `[batch,
        num_outputs]`; the softmax or sigmoid is in the loss.

    Raises:
        ValueError: for features that are no sequence, or an invalid option.

    References:
        Hochreiter and Schmidhuber, "Long short-term memory", 1997.
        Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014 (where the dropout goes).
    """
    return _build("lstm", keras.layers.LSTM, input_shape, num_outputs, hidden_units, dropout, embedding_dim)


def gru(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    hidden_units: Sequence[int] = (64,),
    dropout: float = 0.0,
    embedding_dim: int | None = None,
) -> keras.Model:
    """GRU layers over a sequence, a text, or an image row by row, then a linear head on the last state.

    Arguments, result and errors are those of `lstm`, with layers `gru_1`, `gru_2`, ...

    References:
        Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine translation",
        2014.
    """
    return _build("gru", keras.layers.GRU, input_shape, num_outputs, hidden_units, dropout, embedding_dim)


def _build(
    name: str,
    layer: type[keras.layers.Layer],
    input_shape: _blocks.InputShape,
    num_outputs: int,
    hidden_units: Sequence[int],
    dropout: float,
    embedding_dim: int | None,
) -> keras.Model:
    hidden_units = _blocks.counts("hidden_units", hidden_units, at_least=1)
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = _blocks.sequence(_blocks.numbers(inputs, input_shape, embedding_dim, mask=True), name)
    # cuDNN takes no mask that hides a whole text, as that of a text without words does.
    fused = False if isinstance(input_shape, _blocks.Tokens) else "auto"
    for i, units in enumerate(hidden_units, start=1):
        x = layer(units, return_sequences=i < len(hidden_units), use_cudnn=fused, name=f"{name}_{i}")(x)
        x = _blocks.dropped(x, dropout, f"dropout_{i}")
    return keras.Model(inputs, _blocks.head(x, num_outputs), name=name)
