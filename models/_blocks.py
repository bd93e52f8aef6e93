"""What every architecture shares: the input, the head, and the checks of options and shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

# Units of a layer; more do not fit into any machine's memory.
MOST = 10**6


def features(input_shape: Sequence[int]) -> Any:
    """Returns the input of every model: float32 features in the data's own shape, without the batch axis."""
    if not isinstance(input_shape, Sequence) or not all(_is_count(size) for size in input_shape):
        raise ValueError(
            f"input_shape={input_shape!r} must be positive integers without the batch axis, like (28, 28, 1)."
        )
    return keras.Input(tuple(input_shape), dtype="float32", name="features")


def image(inputs: Any, model: str) -> Any:
    """Returns the features as images `[batch, height, width, channels]`; `(height, width)` gets a channel axis."""
    shape = tuple(inputs.shape[1:])
    if len(shape) == 2:
        return keras.layers.Reshape((*shape, 1), name="channels")(inputs)
    if len(shape) != 3:
        raise ValueError(
            f"Model `{model}` takes images (height, width) or (height, width, channels), not features of shape "
            f"{shape}; choose image data, or one of the models `mlp` and `logistic`, which take any shape."
        )
    return inputs


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
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and 0 <= value < 1):
        raise ValueError(f"{name}={value!r} must be a number in [0, 1), 0 for none.")
    return float(value)


def _is_count(value: Any) -> bool:
    # bool is an int in Python; NumPy integers are none.
    return not isinstance(value, bool) and hasattr(value, "__index__") and value > 0
