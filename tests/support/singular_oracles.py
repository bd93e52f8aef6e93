"""The oracles of sets of matrices, by NumPy's singular value decomposition in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def _parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition of a matrix whose squares may overflow: u, s and v^T."""
    largest = np.max(np.abs(x), initial=0.0) or 1.0
    u, s, vt = np.linalg.svd(x / largest, full_matrices=False)
    return u, s * largest, vt


def singular_values(x: np.ndarray) -> np.ndarray:
    return _parts(x)[1] if x.size else np.zeros(1)


def frobenius(x: np.ndarray) -> float:
    largest = np.max(np.abs(x), initial=0.0) or 1.0
    return float(largest * np.linalg.norm(x / largest))


def _nuclear(x: np.ndarray, max_value: float) -> np.ndarray:
    """Sorts, and lowers as many singular values to zero or equally as make the sum right."""
    u, s, vt = _parts(x)
    if s.sum() <= max_value:
        return x
    z = s - s[0]  # As 1e30 - 1 has no float64 of its own.
    thresholds = (np.cumsum(z) - max_value) / np.arange(1, s.size + 1)
    return (u * np.maximum(z - thresholds[z > thresholds][-1], 0.0)) @ vt


def _with_singular_values(x: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    u, s, vt = _parts(x)
    return (u * change(s)) @ vt


def _beyond(x: np.ndarray, rank: float) -> float:
    s = singular_values(x)
    s = s / (s[0] or 1.0)
    return float(np.linalg.norm(s[int(rank) :]) / (np.linalg.norm(s) or 1.0))


# Each takes the matrix [size, units] and the set's numbers.
PROJECTIONS: dict[str, Callable[..., np.ndarray]] = {
    "lowrank": lambda x, rank: _with_singular_values(x, lambda s: np.where(np.arange(s.size) < rank, s, 0.0)),
    "nuclear": _nuclear,
    "orthogonal": lambda x: _with_singular_values(x, np.ones_like),
    "spectral": lambda x, max_value: _with_singular_values(x, lambda s: np.minimum(s, max_value)),
}
VIOLATIONS: dict[str, Callable[..., float]] = {
    "lowrank": _beyond,
    "nuclear": lambda x, max_value: max(singular_values(x).sum() / max_value - 1.0, 0.0),
    # Root of the mean square, as rounding moves each of them.
    "orthogonal": lambda x: float(np.sqrt(np.mean((singular_values(x) - 1.0) ** 2))) if x.size else 0.0,
    "spectral": lambda x, max_value: max(singular_values(x)[0] / max_value - 1.0, 0.0),
}
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lowrank": lambda x: np.asarray(frobenius(x)),
    "nuclear": lambda x: np.asarray(singular_values(x).sum()),
    "orthogonal": lambda x: np.asarray(frobenius(x)),
    "spectral": lambda x: np.asarray(singular_values(x)[0]),
}
