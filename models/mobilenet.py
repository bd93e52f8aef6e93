"""MobileNet for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    filters: Sequence[int] = (32, 64, 128, 128, 256, 256),
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
) -> keras.Model:
    """Conv 3x3, then depthwise separable convolutions, global mean, linear head.

    A depthwise separable convolution is a depthwise 3x3 convolution and a 1x1 convolution, each followed by norm and
    relu. The first of them keeps the size of the map; later ones halve it where their number of filters differs from
    the one before, until one side is 1. Unlike in the paper the first convolution has stride 1, because small images
    have no pixels to spare. The norms' statistics are taken over the global batch, as in `resnet`.

    Args:
        input_shape: (height, width, channels), or (height, width) for one channel.
        num_outputs: number of outputs, such as classes, or 1 for two classes.
        filters: numbers of filters: of the first convolution, then of each separable one.
        width_multiplier: what every number of filters is multiplied by, and then rounded to at least 1.
        dropout: share of the global mean's outputs that training drops, in [0, 1).

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss. Layers are named `conv`, `block_1_depthwise`, `block_1_depthwise_norm`, `block_1_pointwise`, ...

    Raises:
        ValueError: for features that are no image, or an invalid option.

    References:
        Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017.
    """
    factor = _blocks.multiplier("width_multiplier", width_multiplier)
    filters = _blocks.counts("filters", filters, at_least=1)
    first, *others = _blocks.counts("filters", [max(1, round(factor * number)) for number in filters])
    dropout = _blocks.share("dropout", dropout)
    inputs = _blocks.features(input_shape)
    x = _blocks.image(inputs, "mobilenet")
    x = keras.layers.Conv2D(first, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="conv")(x)
    x = _normed(x, "conv")
    for i, number in enumerate(others, start=1):
        halved = i > 1 and number != x.shape[-1] and min(x.shape[1:3]) > 1
        x = _separable(x, number, 2 if halved else 1, f"block_{i}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = _blocks.dropped(x, dropout, "dropout")
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="mobilenet")


def _separable(x: Any, filters: int, stride: int, name: str) -> Any:
    x = keras.layers.DepthwiseConv2D(
        3,
        strides=stride,
        padding="same",
        use_bias=False,
        depthwise_initializer="he_normal",
        name=f"{name}_depthwise",
    )(x)
    x = _normed(x, f"{name}_depthwise")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_pointwise")(x)
    return _normed(x, f"{name}_pointwise")


def _normed(x: Any, name: str) -> Any:
    x = keras.layers.BatchNormalization(synchronized=True, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
