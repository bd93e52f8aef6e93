"""ONNX, by `tf2onnx`; ONNX Runtime computes the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import Stored

OPSET = 17


def write(model: Any, path: str, *, representative: list[np.ndarray] | None = None) -> None:
    """Writes a model, which takes a batch of any size.

    Args:
      model: a built Keras model, in float32.
      path: ends in `.onnx`.
      representative: not needed.
    """
    del representative
    import tensorflow as tf

    # Given outright, because Keras has none of a model that was loaded and not called yet.
    signature = [tf.TensorSpec(one.shape, one.dtype, one.name) for one in model.inputs]
    signature = signature if len(signature) == 1 else [signature]
    model.export(path, format="onnx", verbose=False, opset_version=OPSET, input_signature=signature)


def read(path: str) -> list[Stored]:
    """The constants, by names that the converter gave."""
    import onnx

    graph = onnx.load(path).graph
    return [Stored(one.name, np.array(onnx.numpy_helper.to_array(one))) for one in graph.initializer]


def predictor(path: str, threads: int = 0) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A session on the processor.

    Args:
      path: the file.
      threads: that it may use; 0: as many as there are.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda x: [np.asarray(one) for one in session.run(None, dict(zip(names, x, strict=True)))]


def predict(path: str, x: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for some examples."""
    return predictor(path)(x)
