"""Transformer over the patches of an image, or over the tokens of a text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from . import _blocks


def build(
    input_shape: _blocks.InputShape,
    num_outputs: int,
    *,
    patch_size: int | None = None,
    depth: int = 2,
    width: int = 64,
    num_heads: int = 4,
    dropout: float = 0.0,
    embedding_dim: int | None = None,
) -> keras.Model:
    """A small ViT: patches, `depth` pre-norm blocks of attention and an MLP, norm, mean over the patches, linear head.

    `patch_embedding` maps each patch linearly to `width` numbers; its bias `[rows, columns, width]` is the learned
    position embedding. A block adds to its input attention(norm(x)), then mlp(norm(x)) with 4 * width gelu units.

    A text's tokens stand for patches: `patch_embedding` maps the vector of each linearly to `width` numbers, so that a
    large vocabulary can have short vectors. Padding is a token like any other.

    Args:
        input_shape: (height, width, channels), or (height, width) for one channel, or the `Tokens` of a text.
        num_outputs: number of logits: classes, or 1 for two classes.
        patch_size: side of a patch in pixels; divides height and width. None: the largest such number that is at most
            the square root of the shorter side (2 for 8x8, 4 for 28x28 and 32x32, 14 for 224x224). Text has none.
        depth: number of blocks.
        width: length of the vector that stands for a patch.
        num_heads: attention heads; divides `width`.
        dropout: share that training drops of the embedded patches, the attention weights and the MLPs' outputs, in [0,
            1).
        embedding_dim: of text, length of the vector that stands for a token in `embedding`; None: 128.

    Returns:
        A model from float32 features `[batch, *input_shape]`, or int32 tokens `[batch, length]`, to logits `[batch,
        num_outputs]`; the softmax or sigmoid is in the loss. Layers are named `patch_embedding`, `block_1_norm_1`,
        `block_1_attention`, `block_1_norm_2`, `block_1_mlp_1`, `block_1_mlp_2`, ...

    Raises:
        ValueError: for features that are no image, patches that do not tile it, or an invalid option.

    References:
        Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at scale", 2021.
        Vaswani et al., "Attention is all you need", 2017.
        Lan et al., "ALBERT: a lite BERT for self-supervised learning of language representations", 2020 (the product
        of `embedding` and `patch_embedding`).
    """
    dropout = _blocks.share("dropout", dropout)
    if _blocks.count("width", width) % _blocks.count("num_heads", num_heads):
        raise ValueError(
            f"width={width} is not divisible by num_heads={num_heads}; it is by {_listed(_divisors(width))}."
        )
    inputs = _blocks.features(input_shape)
    x = _blocks.numbers(inputs, input_shape, embedding_dim)
    if isinstance(input_shape, _blocks.Tokens):
        x = _embedded_tokens(x, patch_size, width)
    else:
        x = _embedded_patches(_blocks.image(x, "transformer"), patch_size, width)
    x = _blocks.dropped(x, dropout, "dropout")
    for i in range(1, _blocks.count("depth", depth) + 1):
        x = _block(x, width, num_heads, dropout, f"block_{i}")
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(inputs, _blocks.head(x, num_outputs), name="transformer")


def _embedded_tokens(x: Any, patch_size: int | None, width: int) -> Any:
    if patch_size is not None:
        raise ValueError(f"patch_size={patch_size!r} is for images, and text has no patches; leave it out.")
    return keras.layers.EinsumDense(
        "ble,ew->blw",  # token, number of its vector -> width
        output_shape=(x.shape[1], width),
        bias_axes="lw",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="patch_embedding",
    )(x)


def _embedded_patches(x: Any, patch_size: int | None, width: int) -> Any:
    height, columns, channels = x.shape[1:]
    divisors = _divisors(math.gcd(height, columns))
    if patch_size is None:
        patch_size = max(size for size in divisors if size**2 <= min(height, columns))
    elif _blocks.count("patch_size", patch_size) not in divisors:
        raise ValueError(
            f"patch_size={patch_size} does not divide the image of {height}x{columns} pixels; choose one of "
            f"{_listed(divisors)}."
        )
    rows, columns = height // patch_size, columns // patch_size
    x = keras.layers.Reshape((rows, patch_size, columns, patch_size, channels), name="patches")(x)
    x = keras.layers.EinsumDense(
        "brycxd,yxdw->brcw",  # row, y in the patch, column, x in the patch, channel -> width
        output_shape=(rows, columns, width),
        bias_axes="rcw",
        bias_initializer=keras.initializers.RandomNormal(stddev=0.02),
        name="patch_embedding",
    )(x)
    return keras.layers.Reshape((rows * columns, width), name="sequence")(x)


def _block(x: Any, width: int, num_heads: int, dropout: float, name: str) -> Any:
    y = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_1")(x)
    y = keras.layers.MultiHeadAttention(num_heads, width // num_heads, dropout=dropout, name=f"{name}_attention")(y, y)
    x = keras.layers.Add(name=f"{name}_add_1")([x, y])
    y = keras.layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm_2")(x)
    y = keras.layers.Dense(4 * width, activation="gelu", name=f"{name}_mlp_1")(y)
    y = keras.layers.Dense(width, name=f"{name}_mlp_2")(y)
    y = _blocks.dropped(y, dropout, f"{name}_dropout")
    return keras.layers.Add(name=f"{name}_add_2")([x, y])


def _divisors(n: int) -> list[int]:
    return [size for size in range(1, n + 1) if n % size == 0]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
