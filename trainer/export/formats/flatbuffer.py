"""The constants of a TFLite file, read by the schema of its flatbuffer."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from . import Stored

# Of the schema's enumeration TensorType.
_TYPES = {0: "<f4", 1: "<f2", 2: "<i4", 3: "<u1", 4: "<i8", 6: "?", 7: "<i2", 9: "<i1", 10: "<f8", 12: "<u8"}
_CSR = 1


def constants(path: str) -> list[Stored]:
    """The constant tensors of all subgraphs, sparse ones filled up with their zeros.

    Args:
      path: a `.tflite` file.
    """
    with open(path, "rb") as file:
        content = file.read()
    model = schema.Model.GetRootAsModel(content, 0)
    found = []
    for graph in (model.Subgraphs(number) for number in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(number) for number in range(graph.TensorsLength())):
            values = _buffer(model.Buffers(tensor.Buffer()), content)
            if values is not None and tensor.Type() in _TYPES:
                found.append(_stored(tensor, values.view(_TYPES[tensor.Type()])))
    return found


def shared(content: bytes) -> bytes:
    """A TFLite file in which vectors of the same bytes are stored once.

    The converter writes a zero point of 8 bytes for every unit, once for the weights and once for the bias. In a file
    of int8 weights without their zeros these are a seventh of all bytes.

    Args:
      content: the file; one that keeps buffers behind the flatbuffer, as files of 2 GB do, is returned as it is.
    """

    class Builder(schema.flatbuffers.Builder):
        def __init__(self) -> None:
            super().__init__(len(content))
            self.places: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
            key = (x.dtype.str, x.tobytes())
            if key not in self.places:
                if x.dtype == np.uint8:
                    # The schema asks for this alignment of weights.
                    self.Prep(16, x.nbytes)
                self.places[key] = super().CreateNumpyVector(x)
            return self.places[key]

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    if any(buffer.offset for buffer in model.buffers):
        return content
    builder = Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(buffer: Any, content: bytes) -> np.ndarray | None:
    """The bytes of a buffer; large files keep them behind the flatbuffer."""
    if buffer.DataLength():
        return buffer.DataAsNumpy()
    if buffer.Offset() > 1:
        return np.frombuffer(content, np.uint8, buffer.Size(), buffer.Offset())
    return None


def _stored(tensor: Any, values: np.ndarray) -> Stored:
    shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
    sparsity, quantization = tensor.Sparsity(), tensor.Quantization()
    values = values.reshape(shape) if sparsity is None else _filled(sparsity, values, shape)
    stored = Stored(tensor.Name().decode(), values, sparse=sparsity is not None)
    if quantization is None or not quantization.ScaleLength() or values.dtype.kind == "f":
        return stored
    return Stored(
        *(stored.name, values, quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()),
        axis=quantization.QuantizedDimension(),
        sparse=stored.sparse,
    )


def _filled(sparsity: Any, values: np.ndarray, shape: list[int]) -> np.ndarray:
    """A sparse tensor with its zeros.

    The file goes through the axes in an order of its own, and then through the axes of blocks. Each level is dense, or
    lists for each place of the levels before it which of its own places are there.
    """
    order = sparsity.TraversalOrderAsNumpy()
    blocks = sparsity.BlockMapAsNumpy() if sparsity.BlockMapLength() else np.zeros(0, np.int32)
    # One row for each place that is stored so far, one column for each level.
    places = np.zeros((1, 0), np.int64)
    sizes = []
    for level in range(len(order)):
        metadata = sparsity.DimMetadata(level)
        if metadata.Format() != _CSR:
            size = metadata.DenseSize()
            own = np.tile(np.arange(size), len(places))
            places = np.repeat(places, size, axis=0)
        else:
            starts = _integers(metadata.ArraySegmentsType(), metadata.ArraySegments())
            own = _integers(metadata.ArrayIndicesType(), metadata.ArrayIndices())
            places = np.repeat(places, np.diff(starts), axis=0)
            size = 0
        sizes.append(size)
        places = np.column_stack([places, own])
    index = [np.zeros(len(places), np.int64) for _ in shape]
    for level, axis in enumerate(order):
        if axis < len(shape):
            index[axis] = index[axis] + places[:, level] * _block_size(axis, order, blocks, sizes, len(shape))
        else:
            index[blocks[axis - len(shape)]] = index[blocks[axis - len(shape)]] + places[:, level]
    filled = np.zeros(shape, values.dtype)
    filled[tuple(index)] = values
    return filled


def _block_size(axis: int, order: np.ndarray, blocks: np.ndarray, sizes: list[int], rank: int) -> int:
    """How many places along an axis a block has; the levels of blocks are dense."""
    for number, blocked in enumerate(blocks):
        if blocked == axis:
            return sizes[int(np.flatnonzero(order == rank + number)[0])]
    return 1


def _integers(kind: int, table: Any) -> np.ndarray:
    """A vector of the schema's union SparseIndexVector."""
    vector = {1: schema.Int32Vector, 2: schema.Uint16Vector, 3: schema.Uint8Vector}[kind]()
    vector.Init(table.Bytes, table.Pos)
    return vector.ValuesAsNumpy().astype(np.int64)
