"""LiteRT/TFLite in float32, float16, int8 weights, or int8 throughout, with sparse tensors where they help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from . import Stored, flatbuffer

KINDS = ("float32", "float16", "dynamic", "int8")
# How far outputs of a sparse file may be from those of the dense one, relative to the largest: two steps of int8.
_AGREEING = 0.02


def write(
    model: Any,
    path: str,
    *,
    representative: list[np.ndarray] | None = None,
    kind: str = "float32",
    sparse: bool = False,
) -> None:
    """Converts a model.

    Args:
      model: a built Keras model.
      path: ends in `.tflite`.
      representative: for int8, examples that the ranges of activations are measured on: an array for each input.
      kind: float32, float16 (weights), dynamic (weights in int8, arithmetic decides itself) or int8 (all of it).
      sparse: whether weights are stored without their zeros where that computes the same and the file is smaller.

    Raises:
      ValueError: int8 without representative examples.
    """
    model = _numbered(_unrolled(model))
    content = _converted(model, kind, representative, sparse=False)
    if sparse:
        smaller = _converted(model, kind, representative, sparse=True)
        smaller = flatbuffer.shared(smaller) if kind == "int8" else smaller
        if len(smaller) < len(content) and _agree(smaller, content, _examples(model, representative)):
            content = smaller
    with open(path, "wb") as file:
        file.write(content)


def read(path: str) -> list[Stored]:
    """The constants, by names that the converter gave."""
    return flatbuffer.constants(path)


def predictor(path: str, threads: int = 0) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """LiteRT's interpreter; a model in int8 is given and gives floats, as the file's own scales make them.

    Args:
      path: the file.
      threads: that it may use; 0: as many as it likes.
    """
    return _function(Interpreter(model_path=path, num_threads=threads or None))


def _function(interpreter: Any) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    inputs, outputs = (_in_order(interpreter, part) for part in ("inputs", "outputs"))
    ready: list[tuple[int, ...]] = []

    def predicted(x: list[np.ndarray]) -> list[np.ndarray]:
        shapes = [tuple(one.shape) for one in x]
        if shapes != ready:
            for detail, shape in zip(inputs, shapes, strict=True):
                interpreter.resize_tensor_input(detail["index"], shape)
            interpreter.allocate_tensors()
            ready[:] = shapes
        for detail, one in zip(inputs, x, strict=True):
            interpreter.set_tensor(detail["index"], _quantised(one, detail))
        interpreter.invoke()
        return [_real(interpreter.get_tensor(detail["index"]), detail) for detail in outputs]

    return predicted


def predict(path: str, x: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for some examples."""
    return predictor(path)(x)


def _unrolled(model: Any) -> Any:
    """A model whose recurrent layers have an operation for each step of a sequence.

    The converter takes a loop over steps for one size of a batch alone.
    """
    import keras

    described = keras.saving.serialize_keras_object(model)
    changed = _with_unroll(described)
    if changed == described:
        return model
    copy = keras.saving.deserialize_keras_object(changed, safe_mode=True)
    copy.set_weights(model.get_weights())
    return copy


def _numbered(model: Any) -> Any:
    """A model whose inputs have names that count them, where there are several or a dictionary.

    A file keeps the names of inputs and loses their order, and the converter takes no dictionary.
    """
    import keras
    import tensorflow as tf

    if isinstance(model, keras.Sequential) or (len(model.inputs) == 1 and not isinstance(model.output, dict)):
        return model
    given = [keras.Input(one.shape[1:], dtype=one.dtype, name=f"input_{i}") for i, one in enumerate(model.inputs)]
    return keras.Model(given, tf.nest.flatten(model(tf.nest.pack_sequence_as(model.input, given))))


def _with_unroll(described: Any) -> Any:
    if isinstance(described, dict):
        return {name: True if name == "unroll" else _with_unroll(value) for name, value in described.items()}
    return [_with_unroll(value) for value in described] if isinstance(described, list) else described


def _converted(model: Any, kind: str, representative: list[np.ndarray] | None, sparse: bool) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if sparse:
        converter.optimizations = [*converter.optimizations, tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "int8":
        if representative is None:
            raise ValueError("tflite_int8 needs representative examples; give some of the training split.")
        names = [one.name for one in model.inputs]
        examples = zip(*representative, strict=True)
        rows = [dict(zip(names, (one[None] for one in row), strict=True)) for row in examples]
        converter.representative_dataset = lambda: iter(rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def _agree(sparse: bytes, dense: bytes, examples: list[np.ndarray]) -> bool:
    """Whether a sparse file computes what the dense one does, in TensorFlow's interpreter and in LiteRT's.

    Some combinations of type and pattern of zeros convert but do not start, or give other numbers: in TensorFlow 2.21
    blocks in float16 (NaN), and blocks in int8 weights with the default delegate; in LiteRT 2.3 int8 without blocks.
    """
    import tensorflow as tf

    for kind in (tf.lite.Interpreter, Interpreter):
        try:
            mine, others = (_function(kind(model_content=one))(examples) for one in (sparse, dense))
        except (RuntimeError, ValueError):
            return False
        for one, other in zip(mine, others, strict=True):
            # A comparison with NaN is false.
            if not np.max(np.abs(one - other)) <= _AGREEING * np.max(np.abs(other)):
                return False
    return True


def _examples(model: Any, representative: list[np.ndarray] | None) -> list[np.ndarray]:
    if representative is not None:
        return [one[:32] for one in representative]
    generator = np.random.default_rng(0)
    return [generator.random((32, *one.shape[1:])).astype(one.dtype) for one in model.inputs]


def _in_order(interpreter: Any, part: str) -> list[dict[str, Any]]:
    """The details of inputs or outputs, in the order of the model; the interpreter may have another."""
    details = interpreter.get_input_details() if part == "inputs" else interpreter.get_output_details()
    signature = next(iter(interpreter.get_signature_list().values()), None)
    if signature is None or len(details) == 1:
        return details
    runner = interpreter.get_signature_runner()
    named = runner.get_input_details() if part == "inputs" else runner.get_output_details()
    places = {named[name]["index"]: place for place, name in enumerate(sorted(named, key=_natural))}
    return sorted(details, key=lambda detail: places[detail["index"]])


def _natural(name: str) -> tuple[str, int]:
    """Sorts `output_10` behind `output_2`."""
    head, _, tail = name.rpartition("_")
    return (head, int(tail)) if tail.isdigit() else (name, 0)


def _quantised(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if not scale:
        return np.ascontiguousarray(values, detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(detail["dtype"])


def _real(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    return (values.astype(np.float32) - zero_point) * np.float32(scale) if scale else values
