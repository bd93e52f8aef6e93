"""What each set's projection should be, written again in NumPy float64 and the slowest, plainest way."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from tests.support import matrix_oracles

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


def project(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: float) -> np.ndarray:
    """Projects every group by its oracle, in float64."""
    result = np.asarray(w).astype(np.float64)
    if name in matrix_oracles.PROJECTIONS:
        return matrix_oracles.project(name, result, axes, **values)
    axes = _windowed(name, result, axes)
    for index, group in groups(w, axes):
        result[index] = PROJECTIONS[name](group, **values).reshape(result[index].shape)
    return result


def violation(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: float) -> float:
    """The largest relative amount by which a group misses the set; 0 when all are feasible."""
    if name in matrix_oracles.VIOLATIONS:
        return matrix_oracles.violation(name, np.asarray(w).astype(np.float64), axes, **values)
    axes = _windowed(name, np.asarray(w), axes)
    return max((VIOLATIONS[name](group, **values) for _, group in groups(w, axes)), default=0.0)


def _windowed(name: str, w: np.ndarray, axes: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """The groups of a set; those of nm are the inputs of one tap and unit, as its windows do not leave them."""
    return (w.ndim - 2,) if name == "nm" and axes is None and w.ndim > 1 else axes


def norms(name: str, w: np.ndarray) -> np.ndarray:
    """The norm that a set speaks of, of each group of fan-ins; of the whole tensor for a set that joins units."""
    wide = np.asarray(w).astype(np.float64)
    if name in matrix_oracles.NORMS:
        return matrix_oracles.norms(name, wide)
    fan_in = tuple(range(wide.ndim - 1))
    return NORMS.get(name, lambda wide: np.sqrt(np.sum(wide**2, axis=fan_in)))(wide)


def array(w: Any) -> np.ndarray:
    """A tensor or anything like an array as an array; bfloat16 scalars need the detour."""
    return np.asarray(w.numpy() if hasattr(w, "numpy") else w)


def bits(w: Any) -> np.ndarray:
    """The bytes of an array, so that -0.0, subnormals and NaN compare for what they are."""
    return np.ascontiguousarray(array(w)).reshape(-1).view(np.uint8)


def norm(x: np.ndarray) -> float:
    """Euclidean norm that neither overflows nor underflows."""
    largest = np.max(np.abs(x), initial=0.0)
    return float(largest * np.sqrt(np.sum((x / largest) ** 2))) if largest > 0 else 0.0


def _scaled_to(x: np.ndarray, target: float) -> np.ndarray:
    length = norm(x)
    return x / length * target if length > 0 else np.full_like(x, target / np.sqrt(x.size))


def _minmaxnorm(x: np.ndarray, min_value: float, max_value: float) -> np.ndarray:
    return x if min_value <= norm(x) <= max_value else _scaled_to(x, min(max(norm(x), min_value), max_value))


def _l1ball(x: np.ndarray, max_value: float) -> np.ndarray:
    """Sorts, and finds the largest support whose threshold lies below its smallest member is right."""
    if np.sum(np.abs(x)) <= max_value:
        return x
    descending = np.sort(np.abs(x))[::-1]
    # Relative to the largest, as 1e30 - 1 has no float64 of its own.
    excess = (descending - descending[0]).astype(np.longdouble)
    thresholds = (np.cumsum(excess) - max_value) / np.arange(1, x.size + 1)
    below = thresholds[excess > thresholds]
    return np.sign(x) * np.maximum(np.abs(x) - descending[0] - float(below[-1] if below.size else 0.0), 0.0)


def _simplex(x: np.ndarray, total: float) -> np.ndarray:
    """Sorts, and finds the largest support of which every member stays above zero when its sum is made the total."""
    if not x.size:
        return x
    # Relative to the largest, as 1e30 - 1 has no float64 of its own.
    z = x - np.max(x)
    descending = np.sort(z)[::-1]
    thresholds = (np.cumsum(descending.astype(np.longdouble)) - total) / np.arange(1, x.size + 1)
    return np.maximum(z - float(thresholds[descending > thresholds][-1]), 0.0)


def _summing_to(x: np.ndarray, total: float) -> np.ndarray:
    """In exact fractions: the group plus one number."""
    shift = (Fraction(total) - sum(map(Fraction, x), Fraction(0))) / max(x.size, 1) if np.all(np.isfinite(x)) else 0
    return np.array([float(Fraction(weight) + Fraction(shift)) for weight in x])


def _topk(x: np.ndarray, sparsity: float) -> np.ndarray:
    kept = x.size - round(sparsity * x.size)
    result = np.zeros_like(x)
    chosen = sorted(range(x.size), key=lambda i: (-abs(x[i]), i))[:kept]
    result[chosen] = x[chosen]
    return result


def _nm(x: np.ndarray, n: float, m: float) -> np.ndarray:
    result = np.zeros_like(x)
    for start in range(0, x.size, int(m)):
        window = range(start, min(start + int(m), x.size))
        chosen = sorted(window, key=lambda i: (-abs(x[i]), i))[: int(n)]
        result[chosen] = x[chosen]
    return result


def _simplextopk(x: np.ndarray, total: float, sparsity: float) -> np.ndarray:
    kept = max(x.size - round(sparsity * x.size), 1)
    result = np.zeros_like(x)
    chosen = sorted(range(x.size), key=lambda i: (-x[i], i))[:kept]
    result[chosen] = _simplex(x[chosen], total)
    return result


def _l1(wide: np.ndarray) -> np.ndarray:
    return np.sum(np.abs(wide), axis=tuple(range(wide.ndim - 1)))


# Sets that speak of another norm than l2.
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "box": lambda wide: np.max(np.abs(wide), axis=tuple(range(wide.ndim - 1))),
    **dict.fromkeys(("l1ball", "l1sphere", "l1topk", "simplex", "simplextopk"), _l1),
}

PROJECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "box": lambda x, min_value, max_value: np.clip(x, min_value, max_value),
    "halfspace": lambda x, total: _summing_to(x, total) if math.fsum(x) > total else x,
    "hyperplane": lambda x, total: _summing_to(x, total),
    "l1ball": _l1ball,
    "l1sphere": lambda x, total: np.where(x < 0, -1.0, 1.0) * _simplex(np.abs(x), total),
    "l1topk": lambda x, max_value, sparsity: _l1ball(_topk(x, sparsity), max_value),
    "mask": lambda x: x,  # Without a pattern; its own tests have some.
    "maxnorm": lambda x, max_value: x if norm(x) <= max_value else _scaled_to(x, max_value),
    "minmaxnorm": _minmaxnorm,
    "nm": _nm,
    "none": lambda x: x,
    "nonneg": lambda x: np.where(x < 0, 0.0, x),
    "simplex": _simplex,
    "simplextopk": _simplextopk,
    "topk": _topk,
    "unitnorm": lambda x: _scaled_to(x, 1.0),
    "zerosum": lambda x: _summing_to(x, 0.0),
    **matrix_oracles.PROJECTIONS,
}


def _outside(value: float, low: float, high: float) -> float:
    return max(low - value, value - high, 0.0) / max(abs(low) if value < low else abs(high), 1e-300)


def _excess(x: np.ndarray, total: float) -> float:
    """How far the sum is above the total, relative to the sum of magnitudes."""
    return (math.fsum(x) - total) / max(math.fsum(np.abs(x)), 1e-300) if x.size else 0.0


VIOLATIONS: dict[str, Callable[..., float]] = {
    "box": lambda x, min_value, max_value: max((_outside(v, min_value, max_value) for v in x), default=0.0),
    "halfspace": lambda x, total: max(_excess(x, total), 0.0),
    "hyperplane": lambda x, total: abs(_excess(x, total)),
    "l1ball": lambda x, max_value: _outside(float(np.sum(np.abs(x))), 0.0, max_value),
    "l1sphere": lambda x, total: _outside(math.fsum(np.abs(x)), total, total) if x.size else 0.0,
    "l1topk": lambda x, max_value, sparsity: VIOLATIONS["l1ball"](x, max_value) + VIOLATIONS["topk"](x, sparsity),
    "mask": lambda x: 0.0,
    "maxnorm": lambda x, max_value: _outside(norm(x), 0.0, max_value),
    "minmaxnorm": lambda x, min_value, max_value: _outside(norm(x), min_value, max_value),
    "nm": lambda x, n, m: float(
        max((np.count_nonzero(x[start : start + int(m)]) - n for start in range(0, x.size, int(m))), default=0.0) > 0
    ),
    "none": lambda x: 0.0,
    "nonneg": lambda x: float(np.any(x < 0)),
    "simplex": lambda x, total: _outside(math.fsum(x), total, total) + float(np.any(x < 0)) if x.size else 0.0,
    "simplextopk": lambda x, total, sparsity: (
        VIOLATIONS["simplex"](x, total) + max(np.count_nonzero(x) - max(x.size - round(sparsity * x.size), 1), 0)
    ),
    "topk": lambda x, sparsity: float(max(np.count_nonzero(x) - (x.size - round(sparsity * x.size)), 0)),
    "unitnorm": lambda x: abs(norm(x) - 1.0) if x.size else 0.0,
    "zerosum": lambda x: abs(_excess(x, 0.0)),
    **matrix_oracles.VIOLATIONS,
}
