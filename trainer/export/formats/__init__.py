"""The formats that a trained model is written in, one file each.

A file here knows TensorFlow, Keras and NumPy, and imports each of them only where it is needed. The check of an export
runs this folder alone, in a process that has nothing else of the project, see `trainer.export.reload`.

Each module has `write(model, path, *, representative=None)`, `read(path)` with what the file stores as a list of
`Stored`, `predictor(path, threads=0)` with a function from a list of inputs to a list of outputs, and
`predict(path, x)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Format:
    """One of the names that `--formats` takes.

    Attributes:
      module: the file of this folder that writes and reads it.
      file: name of what is written, a file or a folder.
      named: whether the file keeps the variables' paths.
      exact: whether the file holds the weights' own bits, so that outputs agree to rounding.
      options: what `write` takes beside the model.
      packages: what has to be installed beside TensorFlow.
      text: what it is, in a line.
    """

    module: str
    file: str
    named: bool
    exact: bool
    text: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    packages: tuple[str, ...] = ()


FORMATS = {
    "keras": Format("keras_file", "model.keras", True, True, "Keras's own file"),
    "onnx": Format(
        *("onnx", "model.onnx", False, True, "ONNX, for ONNX Runtime"), packages=("tf2onnx", "onnx", "onnxruntime")
    ),
    "saved_model": Format("saved_model", "saved_model", True, True, "TensorFlow's SavedModel, a folder"),
    "sparse": Format("sparse", "model.safetensors", True, True, "safetensors without the zeros"),
    "tflite": Format("tflite", "model.tflite", False, True, "LiteRT/TFLite, float32"),
    "tflite_dynamic": Format(
        *("tflite", "model_dynamic.tflite", False, False, "TFLite, weights in int8"), options={"kind": "dynamic"}
    ),
    "tflite_float16": Format(
        *("tflite", "model_float16.tflite", False, False, "TFLite, weights in float16"), options={"kind": "float16"}
    ),
    "tflite_int8": Format(
        *("tflite", "model_int8.tflite", False, False, "TFLite, all in int8"), options={"kind": "int8"}
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A tensor as a file stores it.

    Attributes:
      name: its name there.
      values: what is stored, filled up with the zeros that a sparse encoding leaves out.
      scale: of a quantised tensor, one or one for each place along `axis`: float32.
      zero_point: the stored value that means 0, as many as there are scales: int64.
      axis: which axis the scales belong to.
      sparse: whether the file leaves zeros out.
    """

    name: str
    values: np.ndarray
    scale: np.ndarray | None = None
    zero_point: np.ndarray | None = None
    axis: int = 0
    sparse: bool = False

    @property
    def quantised(self) -> bool:
        """Whether the stored values are whole numbers that stand for others."""
        return self.scale is not None

    def along(self, numbers: np.ndarray) -> np.ndarray:
        """One number for each place along the axis of the scales, in a shape that goes with `values`."""
        if len(numbers) == 1 or not self.values.ndim:
            return numbers.reshape([1] * self.values.ndim)
        return numbers.reshape([-1 if axis == self.axis else 1 for axis in range(self.values.ndim)])

    def real(self) -> np.ndarray:
        """What the stored values stand for: float32, or whole numbers and truth values as they are."""
        if self.scale is None or self.zero_point is None:
            return self.values.astype(np.float32) if self.values.dtype.kind == "f" else self.values
        return ((self.values.astype(np.int64) - self.along(self.zero_point)) * self.along(self.scale)).astype(
            np.float32
        )


def names_of(paths: list[str]) -> list[str]:
    """Paths, with a number behind each that an earlier one has too: nested models may repeat them."""
    counts: dict[str, int] = {}
    names = []
    for path in paths:
        counts[path] = counts.get(path, 0) + 1
        names.append(path if counts[path] == 1 else f"{path}#{counts[path]}")
    return names
