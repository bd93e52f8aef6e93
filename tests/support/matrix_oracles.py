"""The oracles of sets that join a kernel's units: plain NumPy float64 on a matrix whose columns are units."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from tests.support import singular_oracles


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


def optimality_gap(x: np.ndarray, p: np.ndarray, dual: Callable[[np.ndarray], float], bound: float) -> float:
    """How far p, a point of the ball of a norm, may be from the nearest to x: 0 where it is that.

    The nearest point is the one where x - p leans on the ball: <x - p, p> = c ||x - p||_*, the largest it can be. What
    that misses is relative to c ||x - p||_*, less what the rounding of x may do.
    """
    rest = x - p
    most = bound * dual(rest)
    return max(abs(most - float(np.sum(rest * p))) - 1e-14 * bound * dual(x), 0.0) / most


def _matrix(w: np.ndarray, axes: tuple[int, ...] | None) -> tuple[np.ndarray, list[int]]:
    if axes is None:
        axes = tuple(range(max(w.ndim - 1, min(w.ndim, 1))))
    axes = tuple(axis % w.ndim for axis in axes)
    order = [*axes, *(axis for axis in range(w.ndim) if axis not in axes)]
    return w.transpose(order).reshape(int(np.prod([w.shape[axis] for axis in axes])), -1), order


def _lengths(x: np.ndarray) -> np.ndarray:
    """Euclidean norms of columns, that neither overflow nor underflow."""
    largest = np.max(np.abs(x), axis=0, initial=0.0)
    unit = np.where(largest > 0, largest, 1.0)
    return unit * np.sqrt(np.sum((x / unit) ** 2, axis=0))


def _heights(x: np.ndarray) -> np.ndarray:
    return np.max(np.abs(x), axis=0, initial=0.0)


def _l21ball(x: np.ndarray, max_value: float) -> np.ndarray:
    """Sorts the norms and tries each number of units: the largest whose threshold lies below its smallest norm."""
    lengths = _lengths(x)
    if np.sum(lengths) <= max_value:
        return x
    descending = np.sort(lengths)[::-1]
    excess = descending - descending[0]
    threshold = 0.0
    for count in range(1, lengths.size + 1):
        candidate = (np.sum(excess[:count]) - max_value) / count
        if excess[count - 1] > candidate:
            threshold = candidate
    shrunk = np.maximum(lengths - descending[0] - threshold, 0.0)
    return x * np.divide(shrunk, lengths, out=np.zeros_like(lengths), where=shrunk > 0)


def _l1infball(x: np.ndarray, max_value: float) -> np.ndarray:
    """In fractions. What each unit loses, r, is bracketed by two of the values where some unit's bound b(r) bends.

    The largest k magnitudes of a unit, of sum s, exceed its bound while r lies from s - k times the k-th to s - k times
    the next; there b = (s - r) / k. Between two bends next to each other the sum of all bounds is a line.
    """
    if sum(map(Fraction, _heights(x))) <= Fraction(max_value):
        return x
    units = []
    for column in np.abs(x).T:
        descending = [Fraction(value) for value in sorted(column, reverse=True)]
        sums = list(itertools.accumulate(descending))
        following = [*descending[1:], Fraction(0)]
        units.append(
            (sums, [total - k * after for k, (total, after) in enumerate(zip(sums, following, strict=True), 1)])
        )

    def bounds(r: Fraction) -> list[Fraction]:
        result = []
        for sums, bends in units:
            k = bisect.bisect_left(bends, r)
            result.append((sums[k] - r) / (k + 1) if k < len(bends) else Fraction(0))
        return result

    bends = sorted({Fraction(0)}.union(*(bends for _, bends in units)))
    last = bisect.bisect_left(bends, True, key=lambda r: sum(bounds(r)) <= Fraction(max_value))
    (low, more), (high, less) = ((r, sum(bounds(r))) for r in bends[last - 1 : last + 1])
    heights = np.array([float(b) for b in bounds(low + (high - low) * (more - Fraction(max_value)) / (more - less))])
    return np.sign(x) * np.minimum(np.abs(x), heights)


def _sparse(x: np.ndarray, parts: np.ndarray, sparsity: float) -> np.ndarray:
    """Keeps the parts of the largest norm, the first of equal ones.

    Args:
      x: the matrix.
      parts: of the same shape, the number of each weight's part.
      sparsity: the share of parts that are zero.
    """
    # In fractions, as the squares of 1e-250 and of 1e250 have no common scale.
    squares = [sum(Fraction(weight) ** 2 for weight in x[parts == part]) for part in range(parts.max(initial=-1) + 1)]
    chosen = sorted(range(len(squares)), key=lambda part: (-squares[part], part))
    return np.where(np.isin(parts, chosen[: len(squares) - round(sparsity * len(squares))]), x, 0.0)


def _units(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(x.shape[1]), x.shape)


def _blocks(x: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(x.shape)
    return rows // block[0] * (x.shape[1] // block[1]) + columns // block[1]


def _too_many(x: np.ndarray, parts: np.ndarray, sparsity: float) -> float:
    count = parts.max(initial=-1) + 1
    return max(len(np.unique(parts[x != 0])) - (count - round(sparsity * count)), 0)


def _above(value: float, bound: float) -> float:
    return max(value - bound, 0.0) / max(bound, 1e-300)


# Each takes the matrix [size, units] and the set's numbers.
PROJECTIONS: dict[str, Callable[..., np.ndarray]] = {
    **singular_oracles.PROJECTIONS,
    "block": lambda x, sparsity, block: _sparse(x, _blocks(x, block), sparsity),
    "l1infball": _l1infball,
    "l21ball": _l21ball,
    "unitsparse": lambda x, sparsity: _sparse(x, _units(x), sparsity),
}
VIOLATIONS: dict[str, Callable[..., float]] = {
    **singular_oracles.VIOLATIONS,
    "block": lambda x, sparsity, block: _too_many(x, _blocks(x, block), sparsity),
    "l1infball": lambda x, max_value: _above(float(np.sum(_heights(x))), max_value),
    "l21ball": lambda x, max_value: _above(float(np.sum(_lengths(x))), max_value),
    "unitsparse": lambda x, sparsity: _too_many(x, _units(x), sparsity),
}
NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **singular_oracles.NORMS,
    "block": np.linalg.norm,
    "l1infball": lambda x: np.sum(_heights(x)),
    "l21ball": lambda x: np.sum(_lengths(x)),
    "unitsparse": np.linalg.norm,
}
