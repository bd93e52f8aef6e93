"""Finds a model's weights among the tensors of a file.

Some formats keep the variables' paths. Converters lose them, turn kernels to another order of axes, and multiply a
layer's weights by the factors of a normalisation behind it. There a tensor is recognised by its values.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .formats import Stored

# How far a tensor may be from the weights times a factor for each unit, relative to the unit's largest weight.
_FOLDED = {"f4": 1e-5, "f2": 2e-3}
# How the paths of variables end that a file must hold; biases and normalisations may be merged with others.
_KERNELS = ("kernel", "embeddings")
# Rank above which every order of axes would be too many to try.
_MOST_AXES = 5


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A variable as a file holds it.

    Attributes:
      values: what the file says its weights are, in the variable's shape.
      how: "exact" bits, "rounded" by a smaller type, "folded": times factors of another layer, or "merged": a vector
        that the converter computed something else from, whose values are then the model's.
      stored: the tensor it was found in; None where it was merged.
      zeros_kept: whether every weight that is 0 in the model stands for 0 in the file.
    """

    values: np.ndarray
    how: str
    stored: Stored | None
    zeros_kept: bool = True


def by_name(weights: Mapping[str, np.ndarray], stored: Sequence[Stored]) -> dict[str, Found]:
    """The variables of a file that keeps their paths.

    Raises:
      ValueError: one is missing or has other values.
    """
    there = {one.name: one for one in stored}
    found = {}
    for name, expected in weights.items():
        # Keras may call a variable of a nested model otherwise once it has loaded it.
        one = there.get(name) or next((one for one in stored if same_bits(one.values, expected)), None)
        if one is None:
            raise ValueError(f"holds no `{name}`")
        if not same_bits(one.values, expected):
            raise ValueError(f"holds other values of `{name}` than the model")
        found[name] = Found(one.values, "exact", one)
    return found


def by_value(weights: Mapping[str, np.ndarray], stored: Sequence[Stored]) -> dict[str, Found]:
    """The variables of a file that keeps their values alone.

    Args:
      weights: the model's variables.
      stored: the tensors of the file.

    Raises:
      ValueError: no tensor is like a kernel.
    """
    found: dict[str, Found] = {}
    taken: set[int] = set()
    for name, expected in weights.items():
        if expected.dtype.kind not in "fV":
            # Counters and seeds play no part in an inference.
            continue
        same_size = [one for one in stored if one.values.size == expected.size and expected.size]
        # Of two tensors alike the earlier one belongs to the earlier variable.
        same_size.sort(key=lambda one: id(one) in taken)
        ways = (way(expected, one) for way in (_equal, _gated, _proportional) for one in same_size)
        match = next(filter(None, ways), None)
        if match is None:
            if expected.any() and name.endswith(_KERNELS):
                raise ValueError(f"holds no tensor like `{name}`")
            match = Found(expected, "merged", None)
        found[name] = match
        taken.add(id(match.stored))
    return found


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are equal to the bit."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes()


def _equal(expected: np.ndarray, stored: Stored) -> Found | None:
    """The variable in another order of axes, each weight at most rounded."""
    real = stored.real()
    if real.dtype.kind != "f":
        return None
    tolerance = _rounding(stored)
    exact = stored.values.dtype.itemsize >= expected.dtype.itemsize and not stored.quantised
    if exact and not np.array_equal(np.sort(real, axis=None), np.sort(expected, axis=None)):
        return None
    for values, near in _orders(expected, real, np.broadcast_to(tolerance, real.shape)):
        if exact and np.array_equal(values, expected):
            return Found(values, "exact", stored)
        if not exact and np.all(np.abs(values - expected) <= near + _ulps(expected, stored)):
            return Found(values, "rounded", stored, bool(np.all(values[expected == 0] == 0)))
    return None


def _gated(expected: np.ndarray, stored: Stored) -> Found | None:
    """The kernel of a recurrent layer, whose gates the file has in another order."""
    if expected.ndim != 2 or stored.quantised or stored.values.dtype != expected.dtype:
        return None
    for number in (3, 4):
        if expected.shape[1] % number == 0:
            gates = np.arange(expected.shape[1]).reshape(number, -1)
            for order in itertools.permutations(range(number)):
                columns = gates[list(order)].reshape(-1)
                if (found := _equal(expected[:, columns], stored)) is not None:
                    return dataclasses.replace(found, values=found.values[:, np.argsort(columns)])
    return None


def _proportional(expected: np.ndarray, stored: Stored) -> Found | None:
    """The variable times a factor for each place along its last axis or axes."""
    real = stored.real()
    if real.dtype.kind != "f" or expected.ndim < 2 or not expected.any():
        return None
    step = np.broadcast_to(_rounding(stored), real.shape)
    for values, near in _orders(expected, real, step):
        for axes in ((-1,), (-2,), (-2, -1)):
            others = tuple(axis for axis in range(expected.ndim) if axis - expected.ndim not in axes)
            if not others:
                continue
            w = expected.astype(np.float64)
            size = np.max(np.abs(values), axis=others, keepdims=True)
            allowed = near * 1.001 + _FOLDED.get(stored.values.dtype.str[1:], 1e-5) * size
            # Each weight leaves its factor an interval; all intervals of a unit must have a number in common.
            zero = w == 0
            safe = np.where(zero, 1.0, w)
            ends = np.stack([(values - allowed) / safe, (values + allowed) / safe])
            lowest = np.max(np.where(zero, -np.inf, np.min(ends, axis=0)), axis=others)
            highest = np.min(np.where(zero, np.inf, np.max(ends, axis=0)), axis=others)
            if np.all(lowest <= highest) and np.all(np.abs(values)[zero] <= np.broadcast_to(allowed, w.shape)[zero]):
                return Found(values, "folded", stored, bool(np.all(values[zero] == 0)))
    return None


def _orders(expected: np.ndarray, *tensors: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Tensors of a file in the variable's shape, for each order of its axes that they may have been written in."""
    rank = expected.ndim
    orders = itertools.permutations(range(rank)) if rank <= _MOST_AXES else iter([tuple(range(rank))])
    seen = set()
    for order in orders:
        # Axes of length 1 change nothing wherever they stand.
        real_axes = tuple(axis for axis in order if expected.shape[axis] != 1)
        if real_axes in seen:
            continue
        seen.add(real_axes)
        shape = [expected.shape[axis] for axis in order]
        yield [tensor.reshape(shape).transpose(np.argsort(order)) for tensor in tensors]


def _rounding(stored: Stored) -> np.ndarray:
    """How far a weight may be from what stands for it: half a step of whole numbers."""
    if stored.scale is None:
        return np.zeros(())
    return stored.along(stored.scale) * np.float32(0.5001)


def _ulps(expected: np.ndarray, stored: Stored) -> np.ndarray:
    """A rounding of the stored type, for each weight."""
    if stored.quantised:
        return np.abs(expected) * 1e-6
    info = np.finfo(stored.values.dtype)
    return np.abs(expected) * info.eps + float(info.smallest_subnormal)
