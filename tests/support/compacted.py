"""What tests of compacting share: zeroing by units, and the oracle, which runs both models on random inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from trainer.export.compact import Compacted, compact

# Relative to the largest output.
CLOSE = 1e-5


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """The model with random weights everywhere: biases and statistics too, and variances above zero."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        draw = random.normal(size=weight.shape) * 0.5
        weight.assign(np.abs(draw) + 0.5 if weight.path.endswith("moving_variance") else draw)
    return model


def set_units(weight: Any, units: Iterable[int], value: float = 0.0, axis: int = -1) -> None:
    """Sets some units of a weight, by default along the last axis."""
    array = np.moveaxis(keras.ops.convert_to_numpy(weight).copy(), axis, 0)
    array[list(units)] = value
    weight.assign(np.moveaxis(array, 0, axis))


def inputs_of(model: keras.Model, number: int = 4, seed: int = 1) -> Any:
    """Random inputs in the structure that the model takes; whole numbers below 6 for integers."""
    random = np.random.default_rng(seed)

    def draw(x: Any) -> np.ndarray:
        shape = (number, *(size or 5 for size in x.shape[1:]))
        return (
            random.integers(0, 6, shape).astype(x.dtype) if "int" in x.dtype else random.normal(size=shape).astype("f4")
        )

    # A Sequential model does not tell its structure.
    return keras.tree.map_structure(draw, model.inputs[0] if isinstance(model, keras.Sequential) else model.input)


def difference(one: keras.Model, other: keras.Model, inputs: Any = None) -> float:
    """The largest difference of outputs, relative to the largest output."""
    inputs = inputs_of(one) if inputs is None else inputs
    expected, found = one(inputs, training=False), other(inputs, training=False)
    keras.tree.assert_same_structure(expected, found)
    pairs = zip(keras.tree.flatten(expected), keras.tree.flatten(found), strict=True)
    arrays = [(np.asarray(keras.ops.cast(a, "float64")), np.asarray(keras.ops.cast(b, "float64"))) for a, b in pairs]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-3)) for a, b in arrays)


def checked(model: keras.Model, *, close: float = CLOSE) -> Compacted:
    """Compacts a model and checks what holds for every model."""
    before = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    compacted = compact(model)
    assert difference(model, compacted.model) <= close
    assert compacted.parameters_before == model.count_params()
    assert compacted.parameters_after == compacted.model.count_params() <= compacted.parameters_before
    assert compacted.multiply_adds_after <= compacted.multiply_adds_before
    # The model that was given is as it was.
    for weight, array in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), array)
    return compacted


def lost(compacted: Compacted) -> dict[str, tuple[int, int]]:
    """By layer, what it had and has; heads and directions with their noun."""
    plain = ("units", "filters", "channels", "columns")
    return {
        one.layer if one.noun in plain else f"{one.layer} {one.noun}": (one.before, one.after)
        for one in compacted.removed
    }


def reasons(compacted: Compacted, layer: str) -> str:
    """All reasons why a layer keeps something, as one text."""
    return "; ".join(one.reason for one in compacted.kept if one.layer == layer)
