"""A safetensors file without the zeros, which NumPy alone reads; docs/reference/export.md describes the layout."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import Stored, names_of
from .keras_file import function_of, limit

# Weights in a row of the CSR encoding, so that a column takes one byte.
ROW = 256
# The types of safetensors as NumPy calls them.
_TYPES = {f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "FIU" for size in (1, 2, 4, 8)}
_TYPES |= {"BF16": "<u2", "BOOL": "?"}


def write(model: Any, path: str, *, representative: list[np.ndarray] | None = None) -> None:
    """Writes each variable dense, as CSR or with a bitmask, whichever is smallest.

    Args:
      model: a Keras model; its architecture is written too, as Keras's JSON.
      path: the file.
      representative: not needed.
    """
    del representative
    import safetensors.numpy

    names = names_of([variable.path for variable in model.weights])
    parts: dict[str, np.ndarray] = {}
    variables = []
    for name, variable in zip(names, model.weights, strict=True):
        values = np.ascontiguousarray(variable.numpy())
        encoding, encoded = encode(values)
        variables.append([name, encoding, list(values.shape)])
        parts.update({f"{name}{suffix}": part for suffix, part in encoded.items()})
    metadata = {"variables": json.dumps(variables, separators=(",", ":")), "model": model.to_json()}
    content = safetensors.numpy.save(parts, metadata)
    with open(path, "wb") as file:
        file.write(content)


def encode(values: np.ndarray) -> tuple[str, dict[str, np.ndarray]]:
    """The smallest encoding of a tensor: its name, and its parts by the end of their names.

    A weight is left out where all its bits are 0, so that -0.0 stays what it is.
    """
    flat = values.reshape(-1)
    kept = flat.view(f"u{flat.itemsize}") != 0 if flat.dtype.kind != "b" else flat
    places = np.flatnonzero(kept)
    rows = math.ceil(flat.size / ROW)
    counts = np.bincount(places // ROW, minlength=rows)
    starts = np.concatenate([[0], np.cumsum(counts)])
    some = {".values": flat[places]}
    encodings = {
        "dense": {"": values},
        "csr": {
            **some,
            ".starts": starts.astype(np.uint16 if places.size < 2**16 else np.uint32),
            ".columns": (places % ROW).astype(np.uint8),
        },
        "bitmask": {**some, ".bits": np.packbits(kept)},
    }
    # A part takes some hundred bytes of the header, so small tensors stay dense.
    cost = {name: sum(part.nbytes + 100 for part in parts.values()) for name, parts in encodings.items()}
    chosen = min(encodings, key=lambda name: cost[name])
    return chosen, encodings[chosen]


def read(path: str) -> list[Stored]:
    """The weights, by the paths of the variables; bfloat16 as float32."""
    header, part = _opened(path)
    found = []
    for name, encoding, shape in json.loads(header["__metadata__"]["variables"]):
        if encoding == "dense":
            flat = part(name)
        else:
            values = part(f"{name}.values")
            flat = np.zeros(math.prod(shape), values.dtype)
            if encoding == "bitmask":
                places = np.flatnonzero(np.unpackbits(part(f"{name}.bits"), count=flat.size))
            else:
                rows = np.repeat(np.arange(len(part(f"{name}.starts")) - 1), np.diff(part(f"{name}.starts")))
                places = rows * ROW + part(f"{name}.columns")
            flat[places] = values
        found.append(Stored(name, flat.reshape(shape), sparse=encoding != "dense"))
    return found


def predictor(path: str, threads: int = 0) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """The Keras model that the file describes, with its weights.

    Args:
      path: the file.
      threads: that it may use; 0: as many as there are.
    """
    import keras

    limit(threads)
    model = keras.models.model_from_json(_opened(path)[0]["__metadata__"]["model"])
    model.set_weights([stored.values for stored in read(path)])
    return function_of(model)


def predict(path: str, x: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs for some examples."""
    return predictor(path)(x)


def _opened(path: str) -> tuple[dict[str, Any], Callable[[str], np.ndarray]]:
    """The header of a safetensors file, and a function that gives a tensor of it, flat."""
    with open(path, "rb") as file:
        content = file.read()
    begin = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:begin])

    def part(name: str) -> np.ndarray:
        first, last = header[name]["data_offsets"]
        values = np.frombuffer(content[begin + first : begin + last], _TYPES[header[name]["dtype"]])
        if header[name]["dtype"] == "BF16":
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values

    return header, part
