"""What projections should be: the oracles of the sets' test files, applied to a tensor's groups in float64."""

from __future__ import annotations

import importlib
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from constraints import REGISTRY
from constraints.sets._matrix import MatrixSet

DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "float16": np.float16, "float64": np.float64}


def epsilon(dtype: str) -> float:
    """Distance from 1 to the next number of the type."""
    return float(ml_dtypes.finfo(DTYPES[dtype]).eps)


def largest(dtype: str) -> float:
    """The largest number of the type."""
    return float(ml_dtypes.finfo(DTYPES[dtype]).max)


def quantum(dtype: str) -> float:
    """Smallest magnitude that survives TensorFlow's flushing of subnormals (it keeps those of float16)."""
    info = ml_dtypes.finfo(DTYPES[dtype])
    return float(info.smallest_subnormal if dtype == "float16" else info.smallest_normal)


def groups(w: np.ndarray, axes: tuple[int, ...] | None = None) -> Iterator[tuple[tuple, np.ndarray]]:
    """Yields the index of each group and its weights as a float64 vector, row-major."""
    w = np.asarray(w)
    if axes is None:
        axes = tuple(range(max(w.ndim - 1, min(w.ndim, 1))))
    axes = tuple(axis % w.ndim for axis in axes)
    choices = [[slice(None)] if axis in axes else range(size) for axis, size in enumerate(w.shape)]
    for index in itertools.product(*choices):
        yield index, np.asarray(w[index]).astype(np.float64).reshape(-1)


def of(name: str) -> Any:
    """The test file of a set, which has its oracle, what violates it, and its norm where that is not l2."""
    return importlib.import_module(f"tests.constraints.sets.{name}_test")


def project(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: Any) -> np.ndarray:
    """Projects every group by its oracle, in float64."""
    result = np.array(w, order="C").astype(np.float64, order="C")
    flat = result.reshape(-1)
    for places in _groups_of(name, result, axes):
        flat[places] = of(name).oracle(flat[places], **values)
    return result


def violation(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: Any) -> float:
    """The largest relative amount by which a group misses the set; 0 when all are feasible."""
    wide = np.asarray(w).astype(np.float64)
    found = (of(name).violation(wide.reshape(-1)[places], **values) for places in _groups_of(name, wide, axes))
    return max(map(float, found), default=0.0)


def norms(name: str, w: np.ndarray) -> np.ndarray:
    """The norm that a set speaks of, of each group: one for each fan-in, or one for a set of matrices."""
    wide = np.asarray(w).astype(np.float64)
    matrix = issubclass(REGISTRY[name], MatrixSet)
    places = _groups_of(name, wide, None) if matrix else _vectors(wide, None)
    values = [getattr(of(name), "norm", norm)(wide.reshape(-1)[each]) for each in places]
    return np.asarray(values).reshape(() if matrix else wide.shape[-1:])


def _groups_of(name: str, w: np.ndarray, axes: tuple[int, ...] | None) -> Iterator[np.ndarray]:
    """Where each group's weights lie in the flat tensor: vectors, or one matrix for a set of matrices."""
    if not issubclass(REGISTRY[name], MatrixSet):
        # The windows of nm never leave the inputs of one tap.
        yield from _vectors(w, (w.ndim - 2,) if name == "nm" and axes is None and w.ndim > 1 else axes)
        return
    if axes is None:
        axes = tuple(range(max(w.ndim - 1, min(w.ndim, 1))))
    axes = tuple(axis % w.ndim for axis in axes)
    order = [*axes, *(axis for axis in range(w.ndim) if axis not in axes)]
    yield np.arange(w.size).reshape(w.shape).transpose(order).reshape(math.prod(w.shape[axis] for axis in axes), -1)


def _vectors(w: np.ndarray, axes: tuple[int, ...] | None) -> Iterator[np.ndarray]:
    for _, places in groups(np.arange(w.size).reshape(w.shape), axes):
        yield places.astype(int)


def array(w: Any) -> np.ndarray:
    """A tensor or anything like an array as an array; bfloat16 scalars need the detour."""
    return np.asarray(w.numpy() if hasattr(w, "numpy") else w)


def bits(w: Any) -> np.ndarray:
    """The bytes of an array, so that NaN equals itself. Subnormals and -0.0 count as 0.0, which sets may make them."""
    x = np.ascontiguousarray(array(w)).reshape(-1)
    if x.dtype.name in DTYPES:
        x = np.where(np.abs(x) < quantum(x.dtype.name), np.zeros((), x.dtype), x)
    return x.view(np.uint8)


def norm(x: np.ndarray) -> float:
    """Euclidean norm that neither overflows nor underflows."""
    largest = np.max(np.abs(x), initial=0.0)
    return float(largest * np.sqrt(np.sum((x / largest) ** 2))) if largest > 0 else 0.0


def scaled_to(x: np.ndarray, target: float) -> np.ndarray:
    """The vector with another length; equal entries for a zero vector."""
    length = norm(x)
    return x / length * target if length > 0 else np.full_like(x, target / np.sqrt(x.size))


def summing_to(x: np.ndarray, total: float) -> np.ndarray:
    """In exact fractions: the group plus the number that gives it a sum."""
    shift = (Fraction(total) - sum(map(Fraction, x), Fraction(0))) / max(x.size, 1) if np.all(np.isfinite(x)) else 0
    return np.array([float(Fraction(weight) + Fraction(shift)) for weight in x])


def outside(value: float, low: float, high: float) -> float:
    """How far a value is outside an interval, relative to the end that it passes."""
    return max(low - value, value - high, 0.0) / max(abs(low) if value < low else abs(high), 1e-300)


def excess(x: np.ndarray, total: float) -> float:
    """How far the sum is above the total, relative to the sum of magnitudes."""
    return (math.fsum(x) - total) / max(math.fsum(np.abs(x)), 1e-300) if x.size else 0.0
