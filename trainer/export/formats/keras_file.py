"""Keras's own file, `.keras`: architecture and weights, which stock Keras loads in safe mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Stored, names_of


def write(model: Any, path: str, *, representative: list[np.ndarray] | None = None) -> None:
    """Writes a model.

    Args:
      model: made of stock Keras layers; not compiled, or its optimizer is written too.
      path: ends in `.keras`.
      representative: not needed.
    """
    del representative
    model.save(path)


def read(path: str) -> list[Stored]:
    """The weights, by the paths of the variables."""
    weights = _loaded(path).weights
    names = names_of([variable.path for variable in weights])
    return [Stored(name, plain_values(variable.numpy())) for name, variable in zip(names, weights, strict=True)]


def predictor(path: str, threads: int = 0) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """The model as a compiled function.

    Args:
      path: the file.
      threads: that it may use; 0: as many as there are.
    """
    limit(threads)
    return function_of(_loaded(path))


def predict(path: str, x: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for some examples."""
    return predictor(path)(x)


def function_of(model: Any) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A Keras model as a compiled function from a list of inputs to a list of outputs."""
    import tensorflow as tf

    call = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    structure = getattr(model, "_inputs_struct", None)

    def predicted(x: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [tf.convert_to_tensor(one) for one in x]
        given = tensors[0] if len(tensors) == 1 and structure is None else tf.nest.pack_sequence_as(structure, tensors)
        return [one.numpy() for one in tf.nest.flatten(call(given))]

    return predicted


def _loaded(path: str) -> Any:
    import keras

    return keras.models.load_model(path, compile=False, safe_mode=True)


def limit(threads: int) -> None:
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def plain_values(values: Any) -> np.ndarray:
    """A type that NumPy knows; bfloat16 becomes float32, which holds every value of it."""
    values = np.asarray(values)
    return values.astype(np.float32) if values.dtype.name == "bfloat16" else values
