"""Activations that treat every channel alone, and their value at a constant."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

ELEMENTWISE = frozenset(
    getattr(keras.activations, name)
    for name in (
        *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu"),
        *("linear", "log_sigmoid", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus"),
        *("softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh", "tanh_shrink"),
    )
)


# Layers that serve as an activation, as in `Dense(4, activation=LeakyReLU())`.
_LAYERS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.ELU)


def elementwise(activation: Any) -> bool:
    """Whether an activation is known to treat every channel alone; softmax does not."""
    return activation is None or type(activation) in _LAYERS or activation in ELEMENTWISE


def applied(activation: Any, values: np.ndarray) -> np.ndarray:
    """The activation of values [C] in float64; NaN stays, and what is not finite becomes NaN."""
    if activation is None or not len(values):
        return values
    result = keras.ops.convert_to_numpy(activation(keras.ops.convert_to_tensor(values, dtype="float64")))
    return np.where(np.isnan(values) | ~np.isfinite(result), np.nan, result.astype(np.float64))
