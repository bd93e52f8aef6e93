"""TensorFlow's SavedModel: a folder with a compiled function, which TensorFlow loads without Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Stored, names_of
from .keras_file import limit, plain_values


def write(model: Any, path: str, *, representative: list[np.ndarray] | None = None) -> None:
    """Writes a model, whose endpoint `serve` takes a batch of any size.

    Args:
      model: a built Keras model.
      path: the folder.
      representative: not needed.
    """
    del representative
    model.export(path, format="tf_saved_model", verbose=False)


def read(path: str) -> list[Stored]:
    """The weights, by the paths of the variables."""
    import tensorflow as tf

    variables = tf.saved_model.load(path).variables
    names = names_of([variable.name.partition(":")[0] for variable in variables])
    return [Stored(name, plain_values(variable.numpy())) for name, variable in zip(names, variables, strict=True)]


def predictor(path: str, threads: int = 0) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """The endpoint `serve`.

    Args:
      path: the folder.
      threads: that it may use; 0: as many as there are.
    """
    import tensorflow as tf

    limit(threads)
    loaded = tf.saved_model.load(path)
    # A tensor, a list or a dictionary of them.
    structure = loaded.serve.concrete_functions[0].structured_input_signature[0]

    def predicted(x: list[np.ndarray]) -> list[np.ndarray]:
        tensors = [tf.convert_to_tensor(one) for one in x]
        return [one.numpy() for one in tf.nest.flatten(loaded.serve(*tf.nest.pack_sequence_as(structure, tensors)))]

    return predicted


def predict(path: str, x: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for some examples."""
    return predictor(path)(x)
