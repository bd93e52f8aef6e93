"""What the oracles of sets of matrices share: plain NumPy float64 on a matrix whose columns are units."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np


def optimality_gap(x: np.ndarray, p: np.ndarray, dual: Callable[[np.ndarray], float], bound: float) -> float:
    """How far p, a point of the ball of a norm, may be from the nearest to x: 0 where it is that.

    The nearest point is the one where x - p leans on the ball: <x - p, p> = c ||x - p||_*, the largest it can be. The
    gap is relative to c ||x - p||_*, less what the rounding of x may do.
    """
    rest = x - p
    most = bound * dual(rest)
    return max(abs(most - float(np.sum(rest * p))) - 1e-14 * bound * dual(x), 0.0) / most


def sparse(x: np.ndarray, parts: np.ndarray, sparsity: float) -> np.ndarray:
    """Keeps the parts of the largest norm, the first of equal ones.

    Args:
      x: the matrix.
      parts: of the same shape, the number of each weight's part.
      sparsity: the share of parts that are zero.
    """
    # In fractions, because the squares of 1e-250 and of 1e250 have no common scale.
    squares = [sum(Fraction(weight) ** 2 for weight in x[parts == part]) for part in range(parts.max(initial=-1) + 1)]
    chosen = sorted(range(len(squares)), key=lambda part: (-squares[part], part))
    return np.where(np.isin(parts, chosen[: len(squares) - round(sparsity * len(squares))]), x, 0.0)


def too_many(x: np.ndarray, parts: np.ndarray, sparsity: float) -> float:
    """By how many parts more than a sparsity allows are not zero."""
    count = parts.max(initial=-1) + 1
    return float(max(len(np.unique(parts[x != 0])) - (count - round(sparsity * count)), 0))


def with_singular_values(x: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """U diag(change(s)) V^T."""
    u, s, vt = _decomposed(x)
    return (u * change(s)) @ vt


def singular_values(x: np.ndarray) -> np.ndarray:
    return _decomposed(x)[1] if x.size else np.zeros(1)


def _decomposed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Singular value decomposition of a matrix whose squares may overflow: u, s and v^T."""
    largest = np.max(np.abs(x), initial=0.0) or 1.0
    u, s, vt = np.linalg.svd(x / largest, full_matrices=False)
    return u, s * largest, vt
