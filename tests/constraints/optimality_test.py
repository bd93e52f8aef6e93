"""Certificates that a point is the nearest one, without an oracle's projection.

p in a convex set C is nearest to x if and only if <x - p, z - p> <= 0 for all z in C: the support function of C at
y = x - p, its largest <y, z>, must be <y, p>. Sets whose own tests enumerate supports or signs are not tried again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from constraints import REGISTRY
from tests.support.cases import CASES, SCALES
from tests.support.oracles import epsilon, norm, quantum
from tests.support.strategies import AS_THEY_ARE, KINDS, Recipe, Stack
from tests.support.suites import fast

CONVEX = [case for case in CASES if case.convex]
GAP = 1e-6
GROUPS = 20


def _units(y: np.ndarray, order: float) -> float:
    return float(np.max(np.linalg.norm(y, ord=order, axis=0)))


def _in_plane(y: np.ndarray, p: np.ndarray, radius: float) -> float:
    """Along a plane of equal sums only what differs from the mean counts."""
    return float(np.sum(y * p)) + radius * norm(y - np.mean(y))


def _halfspace(y: np.ndarray, p: np.ndarray, radius: float, total: float) -> float:
    """The best step is along y, or as far towards the plane as it leads and then within it."""
    room, count = max(total - float(np.sum(p)), 0.0), y.size
    if not np.any(y) or radius * float(np.sum(y)) / norm(y) <= room:
        return float(np.sum(y * p)) + radius * norm(y)
    rest = np.sqrt(max(radius**2 - room**2 / count, 0.0))
    return float(np.sum(y * p)) + room * float(np.mean(y)) + rest * norm(y - np.mean(y))


def _masked(y: np.ndarray, p: np.ndarray, radius: float, pattern: np.ndarray | None = None) -> float:
    free = y if pattern is None else y[np.broadcast_to(pattern, y.shape)]
    return float(np.sum(y * p)) + radius * norm(free)


# Of y and p, [size, units] for a set that joins units, [size, 1] otherwise: the largest <y, z> over the set; for one
# that has no bound, over its points within `radius` of p.
SUPPORT: dict[str, Callable[..., float]] = {
    "box": lambda y, p, radius, max_value, min_value: float(np.sum(np.maximum(y * max_value, y * min_value))),
    "halfspace": _halfspace,
    "hyperplane": lambda y, p, radius, total: _in_plane(y, p, radius),
    "l1ball": lambda y, p, radius, max_value: max_value * float(np.max(np.abs(y))),
    "l1infball": lambda y, p, radius, max_value: max_value * _units(y, 1),
    "l21ball": lambda y, p, radius, max_value: max_value * _units(y, 2),
    "mask": _masked,
    "maxnorm": lambda y, p, radius, max_value: max_value * norm(y),
    "none": _masked,
    "nonneg": lambda y, p, radius: float(np.sum(np.where(y > 0, y * (p + radius), 0.0))),
    "nuclear": lambda y, p, radius, max_value: max_value * float(np.max(np.linalg.svd(y, compute_uv=False))),
    "simplex": lambda y, p, radius, total: total * float(np.max(y)),
    "spectral": lambda y, p, radius, max_value: max_value * float(np.sum(np.linalg.svd(y, compute_uv=False))),
    "zerosum": lambda y, p, radius: _in_plane(y, p, radius),
}


def groups(stack: Stack) -> np.ndarray:
    """Random and awkward groups of every kind, at the scales where squares are numbers."""
    rng = np.random.default_rng(stack.weights)
    scales = [scale for scale in SCALES["float32"] if scale in SCALES[stack.dtype]]
    kinds = itertools.product([*KINDS, AS_THEY_ARE], scales)
    made = [Recipe(kind, scale, rng.bytes(stack.weights)).group(stack.case, stack.dtype) for kind, scale in kinds]
    return np.resize(np.clip(np.array(made), -1e30, 1e30), (stack.groups, stack.weights)).astype(stack.dtype)


def test_every_convex_set_has_a_support_function():
    assert {name for name, kind in REGISTRY.items() if kind.convex and not kind.proximal} <= set(SUPPORT)


@pytest.mark.parametrize("dtype", fast(["float32", "float64"], "float32"))
@pytest.mark.parametrize("case", CONVEX, ids=str)
def test_no_point_of_a_convex_set_is_nearer(case, dtype):
    for shape in [(1, 1), (4, 3), (7, 5)]:
        stack = Stack(case, dtype, shape, 80)
        w = groups(stack)
        for x, p in zip(stack.matrices(w), stack.matrices(stack.project(w)), strict=True):
            assert _gap(case, x.astype(np.float64), p.astype(np.float64), dtype) <= GAP, f"{x} -> {p}"


@pytest.mark.parametrize("case", CONVEX, ids=str)
def test_the_certificate_tells_a_point_that_is_not_nearest(case):
    if case.name in ("none", "mask"):
        pytest.skip("the nearest point is the weights")
    stack = Stack(case, "float64", (4, 3), GROUPS)
    rng = np.random.default_rng(0)
    w = 3.0 * rng.standard_normal((GROUPS, stack.weights))
    nearest = stack.project(w)
    off = stack.project(nearest + 0.03 * rng.standard_normal(w.shape))
    moved = np.linalg.norm(off - nearest, axis=1) > 0.01
    assert np.any(moved)
    for x, p in zip(stack.matrices(w[moved]), stack.matrices(off[moved]), strict=True):
        assert _gap(case, x, p, "float64") > GAP


def _gap(case, x: np.ndarray, p: np.ndarray, dtype: str) -> float:
    """What the support function finds above <y, p>, relative to |y| and the size of p, less the rounding of p."""
    y = x - p
    y = np.where(np.abs(y) < quantum(dtype), 0.0, y)  # Arithmetic may take subnormals for zeros.
    radius, size = norm(y), float(np.sum(np.abs(p)))
    gap = SUPPORT[case.name](y, p, radius, **case.arguments) - float(np.sum(y * p))
    rounding = 2.0 * epsilon(dtype) * norm(p) * (np.sqrt(p.size) * size + radius)
    return (gap - rounding) / (radius * (size + radius)) if radius > 0 else 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", [case for case in CASES if case.name in ("minmaxnorm", "unitnorm")], ids=str)
def test_no_point_of_a_shell_is_nearer(case, dtype):
    """| ||x|| - ||z|| | <= ||x - z||: no point of norms from a to b is nearer than ||x|| is to that interval."""
    low, high = (case.arguments.get(name, 1.0) for name in ("min_value", "max_value"))
    for shape in [(1, 1), (4, 1), (9, 1)]:
        stack = Stack(case, dtype, shape, 80)
        w = groups(stack)
        for x, p in zip(stack.matrices(w), stack.matrices(stack.project(w)), strict=True):
            x, p = x.astype(np.float64), p.astype(np.float64)
            least = max(low - norm(x), norm(x) - high, 0.0)
            assert norm(x - p) <= least * (1 + 1e-12) + 2.0 * epsilon(dtype) * (norm(p) + 1e-14 * norm(x))
