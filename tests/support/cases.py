"""The catalogue that the laws run over, from the sets' test files: sets with numbers, and weights to try them on."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import zlib
from collections.abc import Callable

import numpy as np

from constraints import REGISTRY, numerics
from constraints.sets._affine import SumConstraint
from constraints.sets._matrix import MatrixSet
from constraints.sets._spectral import SpectralSet
from tests.support import oracles
from tests.support.oracles import DTYPES, epsilon, quantum

SETS = [name for name, kind in REGISTRY.items() if not kind.proximal]


class TopKOfUnits(REGISTRY["topk"]):
    """topk with the groups that the other sets have when none are named, which the laws are written for."""

    grouping = "unit"


@dataclasses.dataclass(frozen=True)
class Case:
    """A set with numbers. What it is like follows from its class and from its oracle.

    Attributes:
      name: its key in the registry.
      values: its hyperparameters.
      options: its other fields.
    """

    name: str
    values: tuple[tuple[str, float], ...] = ()
    options: tuple[tuple[str, tuple[int, ...]], ...] = ()

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
    def separable(self):
        return REGISTRY[self.name].separable

    @property
    def joint(self):
        return issubclass(REGISTRY[self.name], MatrixSet)

    @property
    def spectral(self):
        """Whether singular values decide, whose last bits depend on who computes them."""
        return issubclass(REGISTRY[self.name], SpectralSet)

    @property
    def shifts(self):
        """Whether weights are off by the rounding of the largest of their group."""
        return issubclass(REGISTRY[self.name], SumConstraint)

    @property
    def exact(self):
        """Whether the set's inequality holds to the last bit after rounding."""
        low = self.arguments.get("min_value")
        return not REGISTRY[self.name].thin and (low is None or low < self.arguments["max_value"])

    @property
    def unique(self):
        """Whether zeros and equal weights have one nearest point, or the oracle breaks ties the same way."""
        return getattr(oracles.of(self.name), "UNIQUE", True)

    @functools.cached_property
    def odd(self):
        """Whether P(-w) = -P(w)."""
        return np.allclose(self._of_sample(lambda w: -w), -self._of_sample(lambda w: w))

    @functools.cached_property
    def ordered(self):
        """Whether the order of the weights in a group matters."""
        order = np.random.default_rng(1).permutation(self._sample.shape[0])
        return not np.allclose(self._of_sample(lambda w: w[order]), self._of_sample(lambda w: w)[order])

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The nearest shape that the set can take."""
        return getattr(oracles.of(self.name), "fit", lambda shape: shape)(shape)

    def lengths(self, x: np.ndarray) -> np.ndarray:
        """The l2 norm of each group of a matrix, one group if the set joins its columns."""
        return np.linalg.norm(x) if self.joint else np.linalg.norm(x, axis=0)

    def _of_sample(self, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return oracles.project(self.name, change(self._sample), **self.arguments)

    @property
    def _sample(self) -> np.ndarray:
        return np.random.default_rng(0).standard_normal(self.shape((12, 4)))

    def __str__(self):
        return "-".join([self.name, *(f"{value:g}" for _, value in self.values)])


@functools.cache
def _all_cases() -> list[Case]:
    """The cases of every set's test file."""
    found = []
    for name in SETS:
        options = {field.name for field in REGISTRY[name].options()}
        for arguments in oracles.of(name).CASES:
            values = tuple((key, value) for key, value in arguments.items() if key not in options)
            found.append(Case(name, values, tuple((key, arguments[key]) for key in options)))
    return found


def __getattr__(name: str) -> list[Case]:
    """CASES, collected when they are asked for, because the sets' test files import this one."""
    if name == "CASES":
        return _all_cases()
    raise AttributeError(name)


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
    room = ulps * epsilon(dtype) * np.abs(expected) + numerics.slack(size) * tallest + quantum(dtype)
    if case.joint:
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
