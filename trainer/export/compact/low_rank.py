"""Splits kernels of low rank into two layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from . import graph as graphs
from .kind import clone, copied, numpy

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)


@dataclasses.dataclass(frozen=True)
class Factored:
    """A layer whose kernel, as a matrix of this shape, became two factors of this rank."""

    layer: str
    shape: tuple[int, int]
    rank: int


@dataclasses.dataclass(frozen=True, eq=False)
class LowRank:
    """A functional model, and the layers of it that were split."""

    model: keras.Model
    factored: tuple[Factored, ...]


def low_rank(model: keras.Model, tolerance: float | None = None) -> LowRank:
    """Replaces each Dense or convolutional layer whose kernel has low rank by two, where that is smaller.

    The kernel as a matrix [m, n], n units, is U S V^T with r singular values that are not negligible. If r (m + n) is
    less than m n, a layer of r units without a bias takes U sqrt(S), and one with sqrt(S) V^T, the bias and the
    activation comes after it. A convolution gets r filters of its size, then 1x1. Grouped convolutions, quantised
    layers and layers within other layers stay.

    Args:
      model: functional or Sequential; models inside are expanded. Its weights are not changed.
      tolerance: singular values up to this share of the largest are left out, in [0, 1). None: max(m, n) times the
        precision of float32, which is what rounding makes of 0; outputs then stay equal up to rounding.

    Raises:
      TypeError, ValueError: as `compact`; or the tolerance is out of range.
    """
    if tolerance is not None and not 0 <= tolerance < 1:
        raise ValueError(f"tolerance={tolerance!r} must be a number in [0, 1), or None for rounding alone.")
    graph = graphs.flatten(model)
    made: dict[int, Callable[..., Any]] = {}
    weights: list[tuple[keras.layers.Layer, list[np.ndarray]]] = []
    factored = []
    tied = graph.tied()
    for layer in graph.layers():
        name = graph.names[id(layer)]
        if id(layer) in tied:
            continue
        factors = _factors(layer, tolerance)
        if factors is None:
            if new := copied(layer, name):
                made[id(layer)] = new
                weights.append((new, layer.get_weights()))
            continue
        left, right = factors
        (rows, rank), columns = left.shape, right.shape[1]
        kernel = numpy(layer.kernel)
        first, second = _pair(layer, name, rank, set(graph.names.values()))
        bias = [numpy(layer.bias)] if layer.use_bias else []
        ones = (1,) * (kernel.ndim - 2)
        weights.append((first, [left.reshape(*kernel.shape[:-1], rank)]))
        weights.append((second, [right.reshape(*ones, rank, columns), *bias]))
        made[id(layer)] = lambda x, first=first, second=second, **_: second(first(x))
        factored.append(Factored(name, (rows, columns), rank))
    smaller = graphs.rebuild(graph, made)
    for layer, arrays in weights:
        layer.set_weights(arrays)
    return LowRank(smaller, tuple(factored))


def _factors(layer: Any, tolerance: float | None) -> tuple[np.ndarray, np.ndarray] | None:
    """The two factors [m, r] and [r, n] of a layer's kernel, or None where they are not smaller."""
    convolution = type(layer) in _CONVOLUTIONS and layer.groups == 1
    if not convolution and type(layer) is not keras.layers.Dense:
        return None
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return None
    kernel = numpy(layer.kernel)
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    if not np.isfinite(matrix).all():
        return None
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    share = max(matrix.shape) * np.finfo(np.float32).eps if tolerance is None else tolerance
    # A layer has at least one unit, also for a kernel of zeros.
    rank = max(1, int((singular > share * singular[0]).sum()))
    if rank * sum(matrix.shape) >= matrix.size:
        return None
    root = np.sqrt(singular[:rank])
    return (left[:, :rank] * root).astype(kernel.dtype), (root[:, None] * right[:rank]).astype(kernel.dtype)


def _pair(layer: Any, name: str, rank: int, taken: set[str]) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """The two layers; the second has the name, the bias and the activation."""
    factor = f"{name}_factor"
    while factor in taken:
        factor += "_"
    silent = {"activation": None, "use_bias": False, "activity_regularizer": None, "name": factor}
    if type(layer) is keras.layers.Dense:
        return clone(layer, units=rank, **silent), clone(layer, name=name)
    ones = (1,) * len(layer.kernel_size)
    pointwise = {"kernel_size": ones, "strides": ones, "dilation_rate": ones, "padding": "valid"}
    return clone(layer, filters=rank, **silent), clone(layer, name=name, **pointwise)
