"""The oracles of sets that join a kernel's units: plain NumPy float64 on a matrix whose columns are units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def project(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: float) -> np.ndarray:
    """Projects a float64 tensor by its set's oracle."""
    matrix, order = _matrix(w, axes)
    shape = [w.shape[axis] for axis in order]
    return PROJECTIONS[name](matrix, **values).reshape(shape).transpose(np.argsort(order))


def violation(name: str, w: np.ndarray, axes: tuple[int, ...] | None = None, **values: float) -> float:
    """The relative amount by which a float64 tensor misses the set."""
    return float(VIOLATIONS[name](_matrix(w, axes)[0], **values))


def norms(name: str, w: np.ndarray) -> np.ndarray:
    """The norm that a set speaks of: one number."""
    return NORMS[name](_matrix(w, None)[0])


def _matrix(w: np.ndarray, axes: tuple[int, ...] | None) -> tuple[np.ndarray, list[int]]:
    if axes is None:
        axes = tuple(range(max(w.ndim - 1, min(w.ndim, 1))))
    axes = tuple(axis % w.ndim for axis in axes)
    order = [*axes, *(axis for axis in range(w.ndim) if axis not in axes)]
    return w.transpose(order).reshape(int(np.prod([w.shape[axis] for axis in axes])), -1), order


# Each takes the matrix [size, units] and the set's numbers.
PROJECTIONS: dict[str, Callable[..., np.ndarray]] = {}
VIOLATIONS: dict[str, Callable[..., float]] = {}
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
