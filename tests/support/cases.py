"""The catalogue that the laws run over: each set with numbers, what it is like, and the weights it is tried on."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections.abc import Callable

import numpy as np

from constraints import REGISTRY, numerics
from constraints.sets._matrix import Joint
from tests.support import oracles
from tests.support.oracles import DTYPES, epsilon, quantum

SETS = [name for name, kind in REGISTRY.items() if not kind.proximal]


class TopKOfUnits(REGISTRY["topk"]):
    """topk with the groups that the other sets have when none are named, which the laws are written for."""

    grouping = "unit"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    values: tuple[tuple[str, float], ...] = ()
    options: tuple[tuple[str, tuple[int, ...]], ...] = ()
    odd: bool = True  # P(-w) = -P(w)
    per_weight: bool = False
    ordered: bool = False  # the order of the weights in a group matters
    shifts: bool = False  # weights are off by the rounding of the largest of their group
    exact: bool = True  # the set's inequality holds to the last bit after rounding
    copies: bool = False  # weights stay to the bit or become zeros
    star: bool = False  # a feasible point times 0.9 is well inside
    spectral: bool = False  # computed from singular values, whose last bits depend on who computes them
    sums: bool = False  # weights of one unit are off by the rounding of sums over others, however large
    unique: bool = True  # zeros and equal weights have one nearest point, or the oracle breaks ties the same way
    fit: Callable[[tuple[int, ...]], tuple[int, ...]] | None = None  # the nearest shape that the set can take

    @property
    def constraint(self):
        kind = TopKOfUnits if self.name == "topk" else REGISTRY[self.name]
        return kind(**dict(self.values), **dict(self.options))

    @property
    def arguments(self):
        return dict(self.values) | dict(self.options)

    @property
    def convex(self):
        return REGISTRY[self.name].convex

    @property
    def joint(self):
        return issubclass(REGISTRY[self.name], Joint)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.fit(shape) if self.fit else shape

    def lengths(self, x: np.ndarray) -> np.ndarray:
        """The l2 norm of each group of a matrix, one group if the set joins its columns."""
        return np.linalg.norm(x) if self.joint else np.linalg.norm(x, axis=0)

    def __str__(self):
        return "-".join([self.name, *(f"{value:g}" for _, value in self.values)])


def even(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The nearest shape of a kernel, of an even number of rows and of columns."""
    size, units = math.prod(shape[:-1]), shape[-1] if shape else 1
    if 2 <= len(shape) <= 4 and size % 2 == units % 2 == 0:
        return shape
    return max(size // 2, 1) * 2, max(units // 2, 1) * 2


def _tall(shape: tuple[int, ...]) -> tuple[int, ...]:
    """As many rows at least as columns, by turning over what has fewer."""
    wide = len(shape) > 1 and int(np.prod(shape[:-1])) < shape[-1] and 0 not in shape
    return (shape[-1], *shape[:-1]) if wide else shape


CASES = [
    Case("block", (("sparsity", 0.6),), (("block", (2, 2)),), ordered=True, copies=True, fit=even),
    Case("box", (("max_value", 0.3), ("min_value", -0.7)), odd=False, per_weight=True),
    Case("halfspace", (("total", 0.4),), odd=False, shifts=True, star=True),
    Case("hyperplane", (("total", 1.3),), odd=False, exact=False, shifts=True),
    Case("l1ball", (("max_value", 1.7),), star=True),
    Case("l1infball", (("max_value", 1.7),), star=True, sums=True),
    Case("l1sphere", (("total", 1.7),), exact=False),
    Case("l1topk", (("max_value", 1.7), ("sparsity", 0.6)), star=True),
    Case("l21ball", (("max_value", 1.7),), star=True),
    Case("lowrank", (("rank", 2),), exact=False, spectral=True),
    Case("mask", per_weight=True),
    Case("maxnorm", (("max_value", 1.3),), star=True),
    Case("minmaxnorm", (("max_value", 1.3), ("min_value", 0.4))),
    Case("minmaxnorm", (("max_value", 0.9), ("min_value", 0.9)), exact=False),
    Case("nm", (("n", 2), ("m", 4)), ordered=True, copies=True),
    Case("none", per_weight=True),
    Case("nonneg", odd=False, per_weight=True),
    Case("nuclear", (("max_value", 3.1),), star=True, spectral=True),
    Case("orthogonal", exact=False, spectral=True, unique=False, fit=_tall),
    Case("simplex", (("total", 1.7),), odd=False, exact=False),
    Case("simplextopk", (("total", 1.7), ("sparsity", 0.6)), odd=False, exact=False),
    Case("spectral", (("max_value", 1.3),), star=True, spectral=True),
    Case("topk", (("sparsity", 0.6),), copies=True),
    Case("unitnorm", exact=False),
    Case("unitsparse", (("sparsity", 0.6),), copies=True),
    Case("zerosum", exact=False, shifts=True),
]
# float64 has nothing wider to round from.
SLACK = {"float32": 1e-12, "bfloat16": 1e-12, "float16": 1e-12, "float64": 1e-14}
# The largest is past the size up to which products are taken in float64.
SHAPES = [(), (9,), (11, 6), (5, 3, 4), (3, 3, 4, 5), (2, 3, 2, 3, 4), (120, 40)]
SCALES = {
    "float32": (1e-30, 1e-6, 1.0, 1e6, 1e30),
    "bfloat16": (1e-30, 1e-6, 1.0, 1e6, 1e30),
    "float16": (1e-5, 1e-2, 1.0, 1e2, 1e4),
    "float64": (1e-250, 1e-30, 1.0, 1e30, 1e250),
}


def weights(case: Case, dtype: str, shape: tuple[int, ...], scale: float = 1.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(f"{case}{dtype}{shape}{scale}".encode())])
    shape = case.shape(shape)
    return np.asarray(rng.standard_normal(shape) * scale).astype(DTYPES[dtype])


def close(
    case: Case, actual: np.ndarray, expected: np.ndarray, dtype: str, ulps: float = 2.0, scale: float = 0.0
) -> None:
    """Whether two results are equal but for rounding, as `Constraint` says.

    Args:
      case: the set.
      actual: the result, of the type `dtype`, one group to a column.
      expected: what it should be, float64 of the same shape.
      dtype: the type.
      ulps: units in the last place of a weight that it may be off by.
      scale: the largest weight of what was projected, if known.
    """
    actual = oracles.array(actual).astype(np.float64)
    fan_in = tuple(range(expected.ndim if case.joint else max(expected.ndim - 1, min(expected.ndim, 1))))
    tallest = np.max(np.abs(expected), axis=fan_in, keepdims=True, initial=0.0)
    # Sums of float64 in another order move a threshold by their own rounding.
    size = math.prod(expected.shape[axis] for axis in fan_in)
    known = 0.0 if case.copies or case.per_weight else numerics.slack(size)
    room = ulps * epsilon(dtype) * np.abs(expected) + known * tallest + quantum(dtype)
    if case.sums or case.spectral:
        # A sum, or a singular vector, is off by a rounding of the largest weight; a convex projection adds nothing.
        room = room + 1e-13 * scale
    if case.shifts or case.spectral:
        # A singular vector is off by the rounding of the largest singular value over the gap to the next.
        room = room + (epsilon(dtype) + 1e-13 * case.spectral) * tallest
    worst = np.max(np.abs(actual - expected) - room, initial=-1.0)
    assert worst <= 0, f"off by {worst} more than rounding"


def as_taken(case: Case, name: str, value: float) -> float:
    """A value that a schedule passes through, as the set takes it."""
    (field,) = [field for field in REGISTRY[case.name].hyperparameters() if field.name == name]
    return round(value) if field.metadata["integer"] else value


def sampled_feasible(case: Case, like: np.ndarray, rng: np.random.Generator, count: int) -> list[np.ndarray]:
    spreads = itertools.cycle((0.1, 0.5, 1.0, 3.0))
    points = [rng.standard_normal(like.shape) * next(spreads) for _ in range(count)]
    near = [like + 0.1 * rng.standard_normal(like.shape) for _ in range(count)]
    return [oracles.project(case.name, point, **case.arguments) for point in points + near]
