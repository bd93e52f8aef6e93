"""Keras models by name; they know no constraint and no training loop.

Each entry is `build(input_shape, num_outputs, *, options) -> keras.Model`: a functional model from float32 features in
the data's own shape to logits `[batch, num_outputs]`. Softmax or sigmoid belongs to the loss (`from_logits=True`),
where it is numerically stable.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from . import convnet, logistic, mlp, recurrent, resnet, transformer

__all__ = ["REGISTRY"]

REGISTRY: dict[str, Callable[..., keras.Model]] = {
    "convnet": convnet.build,
    "gru": recurrent.gru,
    "logistic": logistic.build,
    "lstm": recurrent.lstm,
    "mlp": mlp.build,
    "resnet": resnet.build,
    "transformer": transformer.build,
}
