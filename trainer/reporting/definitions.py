"""The definition of each set: what it bounds, and how far rounding to the weights' type may miss that.

Nothing here calls a projection, a distance or a norm of `constraints`, so a fault there cannot pass a certificate.
Zeros, counts, signs and bounds on single weights are judged exactly. A bound on a norm or a sum holds after rounding,
so it is judged to within float64 (`SUMS`). A set that is thinner than the weights' type, such as a sphere, is judged to
within the rounding of its weights, which each definition derives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ..packages import constraints
from . import lengths
from .quantities import SUMS, Quantity, Seen, vectors


def _at_most(words: str, values: np.ndarray, bound: float) -> list[Quantity]:
    return [Quantity(words, values, high=bound, tolerance=SUMS)]


def _kept(sparsity: float, size: int) -> int:
    """How many of so many a share of zeros leaves; round takes halves to even."""
    return size - round(sparsity * size)


def _none(seen: Seen) -> list[Quantity]:
    return []


def _nonneg(seen: Seen) -> list[Quantity]:
    smallest = np.min(seen.x, axis=1, initial=math.inf)
    return [Quantity("smallest weight of a group", smallest, low=0.0, scale=lengths.largest(seen.x))]


def _box(seen: Seen) -> list[Quantity]:
    low, high = seen.bound("min_value"), seen.bound("max_value")
    largest, smallest = np.max(seen.x, axis=1, initial=-math.inf), np.min(seen.x, axis=1, initial=math.inf)
    # A box as thin as the type's numbers lie apart may hold none of them; the one nearest to its middle has to do.
    thin = high - low <= seen.epsilon * max(abs(low), abs(high)) + seen.quantum
    # Else a number of the type within a few roundings of float64 counts as the bound itself.
    tolerance, room = (seen.epsilon, seen.quantum) if thin else (2.0**-46, 0.0)
    return [
        Quantity("largest weight of a group", largest, high=high, tolerance=tolerance, room=room),
        Quantity("smallest weight of a group", smallest, low=low, tolerance=tolerance, room=room),
    ]


def _maxnorm(seen: Seen) -> list[Quantity]:
    return _at_most("l2 norm of a group", lengths.l2(seen.x), seen.bound("max_value"))


def _minmaxnorm(seen: Seen) -> list[Quantity]:
    low, high = seen.bound("min_value"), seen.bound("max_value")
    # Of a thin shell, norms are rounded to nearest; else each weight is rounded to the safe side.
    rounding = seen.epsilon * high + seen.quantum * seen.size**0.5
    thin = high - low <= 4.0 * rounding
    return _sphere(seen, low, high, SUMS + thin * seen.epsilon)


def _unitnorm(seen: Seen) -> list[Quantity]:
    # The factor is rounded by half a unit in the last place, and each weight by as much again.
    return _sphere(seen, 1.0, 1.0, SUMS + seen.epsilon)


def _sphere(seen: Seen, low: float, high: float, tolerance: float) -> list[Quantity]:
    if not seen.size:
        return []
    room = seen.quantum * seen.size**0.5
    return [Quantity("l2 norm of a group", lengths.l2(seen.x), low, high, tolerance, room=room)]


def _l1ball(seen: Seen) -> list[Quantity]:
    return _at_most("sum of magnitudes of a group", lengths.l1(seen.x), seen.bound("max_value"))


def _l1sphere(seen: Seen) -> list[Quantity]:
    return _summing("sum of magnitudes of a group", lengths.l1(seen.x), seen)


def _summing(words: str, sums: np.ndarray, seen: Seen) -> list[Quantity]:
    """A sum of numbers of one sign, which are each rounded by half a unit in the last place; one whole unit stays."""
    total = seen.bound("total")
    if not seen.size:
        return []
    return [Quantity(words, sums, total, total, SUMS + seen.epsilon, room=seen.quantum * seen.size)]


def _simplex(seen: Seen) -> list[Quantity]:
    return [*_summing("sum of a group", np.sum(seen.x, axis=1), seen), *_nonneg(seen)]


def _simplextopk(seen: Seen) -> list[Quantity]:
    # Zeros alone sum to nothing.
    return [*_simplex(seen), _nonzeros(seen, max(_kept(seen.bound("sparsity"), seen.size), 1))]


def _l1topk(seen: Seen) -> list[Quantity]:
    return [*_l1ball(seen), *_topk(seen)]


def _topk(seen: Seen) -> list[Quantity]:
    return [_nonzeros(seen, _kept(seen.bound("sparsity"), seen.size))]


def _nonzeros(seen: Seen, budget: int) -> Quantity:
    return Quantity("non-zeros of a group", np.count_nonzero(seen.x, axis=1).astype(np.float64), high=budget)


def _nm(seen: Seen) -> list[Quantity]:
    most, length = (round(seen.bound(name)) for name in ("n", "m"))
    runs = (_runs(seen) != 0.0).astype(np.int64)
    # The last window of a run may be shorter.
    starts = np.arange(0, runs.shape[2], length)
    windows = np.add.reduceat(runs, starts, axis=2) if len(starts) else runs
    worst = np.max(windows, axis=(1, 2), initial=0).astype(np.float64)
    return [Quantity(f"non-zeros of a window of {length}", worst, high=most)]


def _runs(seen: Seen) -> np.ndarray:
    """The weights that windows run along, for each group: [groups, runs, weights of a run]."""
    groups, inside, rank = len(seen.x), seen.inside, len(seen.shape)
    if not inside:
        return seen.x[:, np.newaxis]
    along = seen.part.along
    if along is None:
        # The last axis of the fan-in: a group of all axes has the units' too.
        along = rank - 2 if len(inside) == rank > 1 else inside[-1]
    x = seen.x.reshape(groups, *(seen.shape[axis] for axis in inside))
    x = np.moveaxis(x, 1 + inside.index(along % rank), -1)
    return x.reshape(groups, math.prod(x.shape[1:-1]), x.shape[-1])


def _mask(seen: Seen) -> list[Quantity]:
    assert isinstance(seen.part, constraints.Mask)
    if seen.part.pattern is None:
        return []
    broken = (seen.x != 0.0) & (vectors(np.asarray(seen.part.pattern), seen.inside)[0] == 0.0)
    return [Quantity("masked weights that are not zero", np.count_nonzero(broken, axis=1).astype(np.float64), high=0)]


def _halfspace(seen: Seen) -> list[Quantity]:
    # Relative to the magnitudes, as a sum of both signs may be a small difference of large numbers.
    total, scale = seen.bound("total"), lengths.l1(seen.x)
    return [Quantity("sum of a group", np.sum(seen.x, axis=1), high=total, tolerance=SUMS, scale=scale)]


def _hyperplane(seen: Seen) -> list[Quantity]:
    return _plane(seen, seen.bound("total"))


def _zerosum(seen: Seen) -> list[Quantity]:
    return _plane(seen, 0.0)


def _plane(seen: Seen, total: float) -> list[Quantity]:
    if not seen.size:
        return []
    # Each weight is rounded by up to half a unit in its last place, relative to what it was before.
    tolerance = SUMS + seen.half * (1.0 + seen.epsilon)
    scale, room = lengths.l1(seen.x), seen.quantum * seen.size
    return [Quantity("sum of a group", np.sum(seen.x, axis=1), total, total, tolerance, scale, room)]


def _l21ball(seen: Seen) -> list[Quantity]:
    sums = np.sum(lengths.l2(lengths.units(seen.x)), axis=1)
    return _at_most("sum of the units' l2 norms", sums, seen.bound("max_value"))


def _l1infball(seen: Seen) -> list[Quantity]:
    sums = np.sum(lengths.largest(lengths.units(seen.x)), axis=1)
    return _at_most("sum of the units' largest magnitudes", sums, seen.bound("max_value"))


def _unitsparse(seen: Seen) -> list[Quantity]:
    count = np.count_nonzero(np.any(seen.x != 0.0, axis=1), axis=1).astype(np.float64)
    return [Quantity("units that are not zero", count, high=_kept(seen.bound("sparsity"), seen.x.shape[2]))]


def _block(seen: Seen) -> list[Quantity]:
    groups, size, units = seen.x.shape
    assert isinstance(seen.part, constraints.Block)
    rows, columns = seen.part.block
    tiles = (seen.x != 0.0).reshape(groups, size // rows, rows, units // columns, columns).any(axis=(2, 4))
    budget = _kept(seen.bound("sparsity"), tiles.shape[1] * tiles.shape[2])
    count = np.count_nonzero(tiles, axis=(1, 2)).astype(np.float64)
    return [Quantity(f"{rows}x{columns} blocks that are not zero", count, high=budget)]


def _spectral(seen: Seen) -> list[Quantity]:
    largest = np.max(lengths.singular_values(seen.x), axis=1, initial=0.0)
    return _at_most("largest singular value", largest, seen.bound("max_value"))


def _nuclear(seen: Seen) -> list[Quantity]:
    return _at_most("sum of singular values", np.sum(lengths.singular_values(seen.x), axis=1), seen.bound("max_value"))


def _lowrank(seen: Seen) -> list[Quantity]:
    rank = round(seen.bound("rank"))
    beyond = lengths.l2(lengths.singular_values(seen.x)[:, rank:])
    # Rounding a matrix of low rank adds a matrix of at most half a unit in the last place of its Frobenius norm.
    tolerance = seen.half * (1.0 + 4.0 * seen.half) + SUMS
    room = seen.quantum * (seen.x.shape[1] * seen.x.shape[2]) ** 0.5
    words = f"singular values beyond the first {rank} (root of their sum of squares)"
    return [Quantity(words, beyond, high=0.0, tolerance=tolerance, scale=lengths.l2(lengths.whole(seen.x)), room=room)]


def _orthogonal(seen: Seen) -> list[Quantity]:
    if 0 in seen.x.shape:
        return []
    units = seen.x.shape[2]
    with np.errstate(invalid="ignore", over="ignore"):
        deviation = lengths.l2(lengths.whole(np.swapaxes(seen.x, 1, 2) @ seen.x - np.eye(units)))
    # With W = Q + E and |E| at most `level` in each unit, W^T W - I is at most |Q^T E| + |E^T Q| + |E^T E|.
    level = seen.half * (1.0 + 4.0 * seen.half) + SUMS + seen.quantum * seen.size**0.5
    words = "deviation of W^T W from I (root of the mean of squares over units)"
    one = np.ones(len(deviation))
    return [Quantity(words, deviation / units**0.5, high=0.0, tolerance=level * (2.0 + level), scale=one)]


DEFINITIONS: dict[str, Callable[[Seen], list[Quantity]]] = {
    "block": _block,
    "box": _box,
    "halfspace": _halfspace,
    "hyperplane": _hyperplane,
    "l1ball": _l1ball,
    "l1infball": _l1infball,
    "l1sphere": _l1sphere,
    "l1topk": _l1topk,
    "l21ball": _l21ball,
    "lowrank": _lowrank,
    "mask": _mask,
    "maxnorm": _maxnorm,
    "minmaxnorm": _minmaxnorm,
    "nm": _nm,
    "none": _none,
    "nonneg": _nonneg,
    "nuclear": _nuclear,
    "orthogonal": _orthogonal,
    "simplex": _simplex,
    "simplextopk": _simplextopk,
    "spectral": _spectral,
    "topk": _topk,
    "unitnorm": _unitnorm,
    "unitsparse": _unitsparse,
    "zerosum": _zerosum,
}
