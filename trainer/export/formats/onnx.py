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
    import keras
    import tensorflow as tf

    # Given outright, because Keras has none of a model that was loaded and not called yet.
    signature = [tf.TensorSpec(one.shape, one.dtype, one.name) for one in model.inputs]
    if not isinstance(model, keras.Sequential):
        signature = [tf.nest.pack_sequence_as(model.input, signature)]
    model.export(path, format="onnx", verbose=False, opset_version=OPSET, input_signature=signature)
    _mend(path)


def _mend(path: str) -> None:
    """Writes TensorFlow's `Erfc`, which `gelu` is made of and ONNX does not have, as 1 - erf."""
    import onnx

    model = onnx.load(path)
    nodes = list(model.graph.node)
    if not any(node.op_type == "Erfc" for node in nodes):
        return
    kinds = {one.name: one.type.tensor_type.elem_type for one in model.graph.value_info}
    del model.graph.node[:]
    for node in nodes:
        if node.op_type != "Erfc":
            model.graph.node.append(node)
            continue
        (x,), (y,) = node.input, node.output
        one = onnx.helper.make_tensor(f"{y}/one", kinds.get(y, onnx.TensorProto.FLOAT), [], [1])
        model.graph.initializer.append(one)
        model.graph.node.append(onnx.helper.make_node("Erf", [x], [f"{y}/erf"]))
        model.graph.node.append(onnx.helper.make_node("Sub", [one.name, f"{y}/erf"], [y], name=node.name))
    onnx.save(model, path)


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
