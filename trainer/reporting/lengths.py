"""The norms that sets speak of, in NumPy float64 and apart from those of `constraints`."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def l2(rows: np.ndarray) -> np.ndarray:
    """Euclidean norm along the last axis, relative to the largest weight so that no square overflows."""
    top = largest(rows)[..., np.newaxis]
    unit = np.where((top > 0.0) & np.isfinite(top), top, 1.0)
    return unit[..., 0] * np.sqrt(np.sum(np.square(rows / unit), axis=-1))


def l1(rows: np.ndarray) -> np.ndarray:
    """Sum of magnitudes along the last axis."""
    return np.sum(np.abs(rows), axis=-1)


def largest(rows: np.ndarray) -> np.ndarray:
    """Largest magnitude along the last axis, 0 of none."""
    return np.max(np.abs(rows), axis=-1, initial=0.0)


def units(x: np.ndarray) -> np.ndarray:
    """[groups, size, units] -> [groups, units, size], each unit's weights side by side."""
    return np.ascontiguousarray(np.swapaxes(x, 1, 2))


def whole(x: np.ndarray) -> np.ndarray:
    """[groups, size, units] -> [groups, size * units]."""
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2])


def singular_values(x: np.ndarray) -> np.ndarray:
    """Singular values of each matrix, descending, NaN where it is not finite."""
    if 0 in x.shape:
        return np.zeros((x.shape[0], 1))
    finite = np.isfinite(x).all(axis=(1, 2), keepdims=True)
    values = np.linalg.svd(np.where(finite, x, 0.0), compute_uv=False)
    return np.where(finite[:, :, 0], values, math.nan)


# The norm that a set speaks of, where it is another than the l2 norm of a group: of its rows, or of its matrices.
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "box": largest,
    **dict.fromkeys(("elasticnet", "l1ball", "l1sphere", "l1topk", "simplex", "simplextopk", "softthreshold"), l1),
    "hardthreshold": lambda rows: np.count_nonzero(rows, axis=-1).astype(np.float64),
    "l1infball": lambda x: np.sum(largest(units(x)), axis=1),
    "l21ball": lambda x: np.sum(l2(units(x)), axis=1),
    "nuclear": lambda x: np.sum(singular_values(x), axis=1),
    "spectral": lambda x: np.max(singular_values(x), axis=1, initial=0.0),
}
