"""How many multiplications with an addition a model makes for one example."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras

from . import graph as graphs

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_RECURRENT = (keras.layers.SimpleRNN, keras.layers.LSTM, keras.layers.GRU)


def multiply_adds(model: keras.Model) -> int:
    """Counts multiply-adds of kernels: dense and convolutional layers, recurrent cells, attention.

    Zeros count like any weight. What is done element by element (activations, normalisation, pooling) and layers that
    are not Keras's own are left out. An unknown size, such as the length of a sequence, counts as 1.

    Args:
      model: functional or Sequential, with models inside.

    Returns:
      The number for one example.

    Raises:
      TypeError, ValueError: as `compact`.
    """
    calls = graphs.flatten(model).calls
    return sum(_of_layer(call.operation, _shapes(call.tensors()), _shapes(call.outputs)) for call in calls)


def _shapes(tensors: list[graphs.Tensor]) -> list[tuple[int | None, ...]]:
    return [tensor.shape for tensor in tensors]


def _size(shape: Iterable[int | None]) -> int:
    return math.prod(size or 1 for size in shape)


def _of_layer(layer: Any, inputs: list[tuple[int | None, ...]], outputs: list[tuple[int | None, ...]]) -> int:
    if isinstance(layer, keras.layers.TimeDistributed):
        steps = inputs[0][1] or 1
        return steps * _of_layer(layer.layer, [(None, *inputs[0][2:])], [(None, *outputs[0][2:])])
    if isinstance(layer, keras.layers.Bidirectional):
        return sum(_of_layer(side, inputs, outputs) for side in (layer.forward_layer, layer.backward_layer))
    if isinstance(layer, keras.layers.Dense):
        return _size(outputs[0][1:-1]) * _size(layer.kernel.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        return _of_einsum(layer, inputs[0])
    if isinstance(layer, _TRANSPOSED):
        return _places(layer, inputs[0]) * _size(layer.kernel.shape)
    if isinstance(layer, _CONVOLUTIONS + _DEPTHWISE):
        return _places(layer, outputs[0]) * _size(layer.kernel.shape)
    if isinstance(layer, _SEPARABLE):
        return _places(layer, outputs[0]) * (_size(layer.depthwise_kernel.shape) + _size(layer.pointwise_kernel.shape))
    if isinstance(layer, _RECURRENT):
        steps = inputs[0][1] or 1
        return steps * (_size(layer.cell.kernel.shape) + _size(layer.cell.recurrent_kernel.shape))
    if isinstance(layer, keras.layers.MultiHeadAttention):
        return _of_attention(layer, inputs)
    return 0


def _places(layer: Any, shape: tuple[int | None, ...]) -> int:
    return _size(shape[2:] if layer.data_format == "channels_first" else shape[1:-1])


def _of_einsum(layer: keras.layers.EinsumDense, shape: tuple[int | None, ...]) -> int:
    read, letters = layer.equation.split("->")[0].replace("...", "").split(",")
    sizes = dict(zip(reversed(read), reversed(shape), strict=False))
    sizes.update(zip(letters, layer.kernel.shape, strict=True))
    # Axes under an ellipsis come first; the batch is one example.
    return _size(sizes.values()) * _size(shape[1 : max(1, len(shape) - len(read))])


def _of_attention(layer: keras.layers.MultiHeadAttention, inputs: list[tuple[int | None, ...]]) -> int:
    query, value = inputs[0], inputs[1]
    rows, columns = _size(query[1:-1]), _size(value[1:-1])
    projections = rows * (_size(layer.query_dense.kernel.shape) + _size(layer.output_dense.kernel.shape))
    projections += columns * (_size(layer.key_dense.kernel.shape) + _size(layer.value_dense.kernel.shape))
    return projections + rows * columns * layer.num_heads * (layer.key_dim + layer.value_dim)
