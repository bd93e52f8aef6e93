"""Residual network for small images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    depth: int = 20,
    filters: Sequence[int] = (16, 32, 64),
) -> keras.Model:
    """The CIFAR residual network: conv 3x3, three stages of n = (depth - 2) / 6 blocks, global mean, linear head.

    A block is conv-norm-relu-conv-norm plus its input, then relu. The second and third stage start with stride 2;
    there, and wherever the number of filters changes, a 1x1 convolution fits the shortcut (the paper's option B).
    Convolutions have no bias: the norm after them has. The norms' statistics are taken over the global batch, because
    moving averages that each replica takes alone drift apart.

    Args:
        input_shape: (height, width, channels), or (height, width) for one channel.
        num_outputs: number of logits: classes, or 1 for two classes.
        depth: number of layers with weights, 6n + 2: 8, 14, 20, 32, 44, 56, 110, ...
        filters: numbers of filters of the three stages.

    Returns:
        A model from float32 features `[batch, *input_shape]` to logits `[batch, num_outputs]`; the softmax or sigmoid
        is in the loss. Layers are named `stage_1_block_1_conv_1`, `stage_1_block_1_norm_1`, `stage_2_block_1_shortcut`,
        ...

    Raises:
        ValueError: for features that are no image, a depth that is not 6n + 2, or not three numbers of filters.

    References:
        He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 4.2.
    """
    filters = _blocks.counts("filters", filters)
    if len(filters) != 3:
        raise ValueError(f"filters={filters} must be three positive integers, one for each stage, like (16, 32, 64).")
    if _blocks.count("depth", depth) < 8 or depth % 6 != 2:
        below = max(8, depth - (depth - 2) % 6)
        nearest = "8" if depth < 8 else f"{below} and {below + 6}"
        raise ValueError(f"depth={depth} must be 6n + 2 with n at least 1; nearest: {nearest}.")

    inputs = _blocks.features(input_shape)
    x = _conv(_blocks.image(inputs, "resnet"), filters[0], 1, "conv", "norm")
    x = keras.layers.ReLU(name="relu")(x)
    for stage, number in enumerate(filters, start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            x = _block(x, number, stride=2 if stage > 1 and block == 1 else 1, name=f"stage_{stage}_block_{block}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="resnet")


def _block(x: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = _conv(x, filters, stride, f"{name}_shortcut", f"{name}_shortcut_norm", size=1)
    y = _conv(x, filters, stride, f"{name}_conv_1", f"{name}_norm_1")
    y = keras.layers.ReLU(name=f"{name}_relu_1")(y)
    y = _conv(y, filters, 1, f"{name}_conv_2", f"{name}_norm_2")
    y = keras.layers.Add(name=f"{name}_add")([shortcut, y])
    return keras.layers.ReLU(name=f"{name}_relu_2")(y)


def _conv(x: Any, filters: int, stride: int, conv: str, norm: str, size: int = 3) -> Any:
    x = keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal", name=conv
    )(x)
    return keras.layers.BatchNormalization(synchronized=True, name=norm)(x)
