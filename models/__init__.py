"""Keras models by name; they know no constraint and no training loop.

Each entry is `build(input_shape, num_outputs, *, options) -> keras.Model`: a functional model from float32 features in
the data's own shape to logits `[batch, num_outputs]`. Softmax or sigmoid belongs to the loss (`from_logits=True`),
where it is numerically stable. For text the input shape is `Tokens`, and the features are int32 tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from . import autoencoder, convnet, lenet5, logistic, mlp, mobilenet, recurrent, resnet, textcnn, transformer
from ._blocks import Tokens

__all__ = ["REGISTRY", "Tokens"]

REGISTRY: dict[str, Callable[..., keras.Model]] = {
    "autoencoder": autoencoder.build,
    "convnet": convnet.build,
    "gru": recurrent.gru,
    "lenet5": lenet5.build,
    "logistic": logistic.build,
    "lstm": recurrent.lstm,
    "mlp": mlp.build,
    "mobilenet": mobilenet.build,
    "resnet": resnet.build,
    "textcnn": textcnn.build,
    "transformer": transformer.build,
}
