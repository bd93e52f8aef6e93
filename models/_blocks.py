"""What every architecture shares: the input, the head, and the checks of options and shapes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras

# Units of a layer; more do not fit into any machine's memory.
MOST = 10**6
# Numbers that stand for a token, unless a model is told otherwise.
EMBEDDING_DIM = 128
READ_TEXT = "`gru`, `lstm`, `mlp`, `textcnn` and `transformer`"


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Texts, in place of an input shape.

    Attributes:
        length: tokens of a text.
        vocabulary_size: ids are 0 .. vocabulary_size - 1; 0 is padding at the end of a text.
    """

    length: int
    vocabulary_size: int

    def __post_init__(self) -> None:
        for name in ("length", "vocabulary_size"):
            if count(name, getattr(self, name)) > MOST:
                raise ValueError(f"{name}={getattr(self, name)} is too much for a text; use at most {MOST}.")


# What a model is told of its input: the shape of its numbers without the batch axis, or a text's size.
InputShape = Sequence[int] | Tokens


def features(input_shape: InputShape) -> Any:
    """Returns the input of every model: float32 features in the data's own shape, or int32 tokens `[batch, length]`."""
    if isinstance(input_shape, Tokens):
        return keras.Input((input_shape.length,), dtype="int32", name="features")
    if not isinstance(input_shape, Sequence) or not all(_is_count(size) for size in input_shape):
        raise ValueError(
            f"input_shape={input_shape!r} must be positive integers without the batch axis, like (28, 28, 1)."
        )
    return keras.Input(tuple(input_shape), dtype="float32", name="features")


def numbers(inputs: Any, input_shape: InputShape, embedding_dim: int | None = None, mask: bool = False) -> Any:
    """Returns features that are numbers as they are, and tokens as vectors `[batch, length, embedding_dim]`.

    Args:
        inputs: what `features` returned.
        input_shape: as there.
        embedding_dim: length of a token's vector; None: `EMBEDDING_DIM`.
        mask: whether later layers pass over padding; else padding has a vector that is learned as any other.

    Raises:
        ValueError: for an `embedding_dim` of numbers.
    """
    if isinstance(input_shape, Tokens):
        dim = EMBEDDING_DIM if embedding_dim is None else count("embedding_dim", embedding_dim)
        return keras.layers.Embedding(input_shape.vocabulary_size, dim, mask_zero=mask, name="embedding")(inputs)
    if embedding_dim is not None:
        raise ValueError(
            f"embedding_dim={embedding_dim!r} is for text, and features of shape {tuple(input_shape)} are numbers; "
            "leave it out."
        )
    return inputs


def no_text(inputs: Any, model: str, takes: str) -> None:
    """Raises ValueError where a model that reads numbers is given text."""
    if inputs.dtype == "int32":
        raise ValueError(f"Model `{model}` takes {takes}, not text; choose one of the models {READ_TEXT}.")


def sequence(inputs: Any, model: str) -> Any:
    """Returns the features as sequences `[batch, time, features]`; an image is read row by row."""
    shape = tuple(inputs.shape[1:])
    if len(shape) == 3:
        height, width, channels = shape
        return keras.layers.Reshape((height, width * channels), name="rows")(inputs)
    if len(shape) != 2:
        raise ValueError(
            f"Model `{model}` takes sequences (time, features), images (height, width, channels) or text, not features "
            f"of shape {shape}; choose such data, or one of the models `mlp` and `logistic`, which take any shape."
        )
    return inputs


def image(inputs: Any, model: str) -> Any:
    """Returns the features as images `[batch, height, width, channels]`; `(height, width)` gets a channel axis."""
    no_text(inputs, model, "images")
    shape = tuple(inputs.shape[1:])
    if len(shape) == 2:
        return keras.layers.Reshape((*shape, 1), name="channels")(inputs)
    if len(shape) != 3:
        raise ValueError(
            f"Model `{model}` takes images (height, width) or (height, width, channels), not features of shape "
            f"{shape}; choose image data, or one of the models `mlp` and `logistic`, which take any shape."
        )
    return inputs


def convolutions(x: Any, filters: Sequence[int], kernel_size: int, activation: str | None) -> Any:
    """Returns images after a Conv2D and a MaxPooling2D 2x2 for each of `filters`: `conv_1`, `pool_1`, `conv_2`, ...

    Convolutions are unpadded; they are zero-padded only where less than 2x2 would be left to pool.

    Raises:
        ValueError: for more convolutions than the image can be halved.
    """
    shape = tuple(x.shape[1:])
    for i, number in enumerate(filters, start=1):
        side = min(x.shape[1:3])
        if side < 2:
            raise ValueError(
                f"filters={filters} asks for {len(filters)} convolutions, each of which halves the image, but images "
                f"of shape {shape} can be halved {i - 1} times; name no more filters than that, or choose larger "
                "images."
            )
        padding = "valid" if side > kernel_size else "same"
        x = keras.layers.Conv2D(number, kernel_size, activation=activation, padding=padding, name=f"conv_{i}")(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool_{i}")(x)
    return x


def dense(
    x: Any, hidden_units: Sequence[int], activation: str = "relu", name: str = "hidden", dropout: float = 0
) -> Any:
    """Returns `x` after a Dense layer for each of `hidden_units`, each followed by dropout: `hidden_1`, ..."""
    for i, units in enumerate(hidden_units, start=1):
        x = keras.layers.Dense(units, activation=activation, name=f"{name}_{i}")(x)
        x = dropped(x, dropout, f"dropout_{i}")
    return x


def head(x: Any, num_outputs: int) -> Any:
    """Returns the logits `[batch, num_outputs]`, float32 under every mixed-precision policy."""
    return keras.layers.Dense(count("num_outputs", num_outputs), name="output", dtype="float32")(x)


def dropped(x: Any, rate: float, name: str) -> Any:
    """Returns `x` after dropout, or `x` itself at rate 0: no layer, and no seed for a checkpoint to hold."""
    return keras.layers.Dropout(rate, name=name)(x) if rate else x


def count(name: str, value: Any) -> int:
    """Returns the option if it is a positive integer."""
    if not _is_count(value):
        raise ValueError(f"{name}={value!r} must be a positive integer.")
    return int(value)


def counts(name: str, values: Any, *, at_least: int = 0) -> tuple[int, ...]:
    """Returns the option if it is a list of at least so many positive integers."""
    if isinstance(values, str) or not isinstance(values, Sequence) or not all(_is_count(value) for value in values):
        raise ValueError(f"{name}={values!r} must be a list of positive integers, like (64,) or (300, 100).")
    if any(value > MOST for value in values):
        raise ValueError(f"{name}={max(values)} is too many for a layer; use at most {MOST}.")
    if len(values) < at_least:
        raise ValueError(f"{name}={values!r} must name at least {at_least} layer{'s' * (at_least > 1)}, like (64,).")
    return tuple(int(value) for value in values)


def share(name: str, value: Any) -> float:
    """Returns the option if it is a number in [0, 1)."""
    if not _is_number(value) or not 0 <= value < 1:
        raise ValueError(f"{name}={value!r} must be a number in [0, 1), 0 for none.")
    return float(value)


def multiplier(name: str, value: Any) -> float:
    """Returns the option if it is a positive number."""
    if not _is_number(value) or value <= 0:
        raise ValueError(f"{name}={value!r} must be a positive number, such as 0.5.")
    return float(value)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    # bool is an int in Python; NumPy integers are none.
    return not isinstance(value, bool) and hasattr(value, "__index__") and value > 0
