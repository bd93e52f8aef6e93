"""Weights that hypothesis draws: groups as awkward as a recipe can make them, many groups to a tensor."""

from __future__ import annotations

import dataclasses
import functools
import zlib
from collections.abc import Callable

import ml_dtypes
import numpy as np
from hypothesis import strategies as st

from constraints.sets._matrix import MatrixSet
from tests.support import oracles
from tests.support.cases import SCALES, Case
from tests.support.oracles import DTYPES


@dataclasses.dataclass(frozen=True)
class Stack:
    """Groups of one shape and type for one case, stacked as its set takes them.

    One group is a column of [size, groups], or a matrix of [groups, size, units] for a set that joins units.
    """

    case: Case
    dtype: str
    shape: tuple[int, int]
    groups: int

    @property
    def constraint(self) -> MatrixSet:
        """The set, with a matrix of its own for each group."""
        return dataclasses.replace(self.case.constraint, each=0) if self.case.joint else self.case.constraint

    @functools.cached_property
    def size(self) -> int:
        return self.case.shape(self.shape if self.case.joint else (self.shape[0], self.groups))[0]

    @functools.cached_property
    def units(self) -> int:
        return self.case.shape(self.shape)[1] if self.case.joint else 1

    @property
    def weights(self) -> int:
        return self.size * self.units

    @property
    def many(self) -> bool:
        """Whether some sets may trade last bits for speed here; see docs/concepts/feasibility.md."""
        return self.dtype == "float32" and self.weights * self.groups > 256

    def stacked(self, flat: np.ndarray) -> np.ndarray:
        """[groups, weights] -> as the set takes it, in the stack's type."""
        flat = np.asarray(flat)
        w = flat.reshape(self.groups, self.size, self.units) if self.case.joint else flat.T
        return np.ascontiguousarray(w.astype(DTYPES[self.dtype]))

    def flat(self, w: object) -> np.ndarray:
        """As the set takes it -> [groups, weights], its type kept."""
        w = oracles.array(w)
        return w.reshape(self.groups, -1) if self.case.joint else w.T

    def matrices(self, flat: np.ndarray) -> list[np.ndarray]:
        """Each group as an oracle takes it: [size, units]."""
        return [group.reshape(self.size, self.units) for group in flat]

    def project(self, flat: np.ndarray) -> np.ndarray:
        return self.flat(self.constraint(self.stacked(flat)))

    def nearest(self, flat: np.ndarray) -> np.ndarray:
        """What the oracle says of each group, in float64: of what arithmetic sees of it, if the group is infeasible.

        TensorFlow's arithmetic takes subnormal weights for zeros.
        """
        wide = flat.astype(np.float64)
        seen = np.where(np.abs(wide) < oracles.quantum(self.dtype), 0.0, wide)
        seen = np.where((self.violations(flat) > 0)[:, np.newaxis], seen, wide)
        points = [oracles.project(self.case.name, matrix, **self.case.arguments) for matrix in self.matrices(seen)]
        return np.array(points).reshape(flat.shape)

    def violations(self, flat: np.ndarray) -> np.ndarray:
        """[groups]: the relative amount by which each misses the set."""
        matrices = self.matrices(flat)
        with np.errstate(over="ignore"):  # It may be beyond float64.
            return np.array([oracles.violation(self.case.name, matrix, **self.case.arguments) for matrix in matrices])


@functools.cache
def _values(case: Case, dtype: str) -> np.ndarray:
    """256 numbers with a reason, the plainest first, as hypothesis shrinks bytes to 0."""
    info = ml_dtypes.finfo(DTYPES[dtype])
    epsilon, tiny, subnormal = float(info.eps), float(info.smallest_normal), float(info.smallest_subnormal)
    bounds = [1.0, *(abs(value) for _, value in case.values)]
    plain = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 0.1, -0.1, -0.0]
    edges = [bound * factor for bound in bounds for factor in (1, -1, 1 + epsilon, 1 - epsilon, 0.5, 1 / 3)]
    small = [subnormal, -subnormal, 3 * subnormal, tiny, -tiny, tiny - subnormal, 2 * tiny, epsilon, -epsilon]
    scales = [sign * scale for scale in SCALES[dtype] for sign in (1.0, -1.0)]
    return np.resize(np.array([*plain, *edges, *small, *scales]), 256)


def _spread(_: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count) * 10.0 ** rng.uniform(-12, 6, count)


def _sparse(_: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal(count) * (rng.uniform(size=count) < 0.25)


def _one_hot(raw: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    return np.where(np.arange(count) == raw[0] % count, rng.standard_normal(), 0.0)


def _nearly_equal(raw: np.ndarray, rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.standard_normal() * (1.0 + (raw % 8) * 2.0 ** -rng.choice([7, 10, 23, 52]))


# Each makes a group of `count` weights of its bytes, or of a generator that they seed.
KINDS: dict[str, Callable[[np.ndarray, np.random.Generator, int], np.ndarray]] = {
    "integers": lambda raw, rng, count: (raw + 128) % 256 - 128.0,
    "plain": lambda raw, rng, count: rng.standard_normal(count),
    "ties": lambda raw, rng, count: np.array([0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5])[raw % 7],
    "equal": lambda raw, rng, count: np.full(count, rng.standard_normal()),
    "nearly equal": _nearly_equal,
    "one-hot": _one_hot,
    "sparse": _sparse,
    "sorted": lambda raw, rng, count: np.sort(rng.standard_normal(count)),
    "descending": lambda raw, rng, count: np.sort(rng.standard_normal(count))[::-1],
    "repeated": lambda raw, rng, count: np.resize(rng.standard_normal((count + 1) // 2), count),
    "spread": _spread,
    "positive": lambda raw, rng, count: rng.exponential(size=count),
    "negative": lambda raw, rng, count: -rng.exponential(size=count),
}
# Numbers with a reason come as they are; points of the set come just off it.
AS_THEY_ARE, NEAR = "numbers", "near the set"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How one group is made: a kind, a scale, and the bytes that say the rest."""

    kind: str
    scale: float
    raw: bytes

    def group(self, case: Case, dtype: str) -> np.ndarray:
        bytes_ = np.frombuffer(self.raw, np.uint8)
        if self.kind == AS_THEY_ARE:
            return _values(case, dtype)[bytes_]
        rng = np.random.default_rng(list(self.raw))
        kind = KINDS["plain" if self.kind == NEAR else self.kind]
        return kind(bytes_.astype(np.float64) if self.kind == "integers" else bytes_, rng, len(bytes_)) * self.scale


@st.composite
def recipes(draw: st.DrawFn, dtype: str, weights: int) -> Recipe:
    kind = draw(st.sampled_from([*KINDS, AS_THEY_ARE, NEAR]))
    # The middle one, 1, is the plainest.
    scales = sorted(SCALES[dtype], key=lambda scale: abs(np.log10(scale)))
    scale = draw(st.sampled_from(scales))
    return Recipe(kind, scale, draw(st.binary(min_size=weights, max_size=weights)))


def _told_apart(made: list[Recipe]) -> list[Recipe]:
    """The recipes with other bytes, which depend on all recipes.

    Hypothesis makes most of its examples by changing a few draws of another one: most of their groups would be groups
    that were tried before.
    """
    rng = np.random.default_rng(zlib.crc32(repr(made).encode()))
    return [dataclasses.replace(recipe, raw=rng.bytes(len(recipe.raw))) for recipe in made]


def nudged(point: np.ndarray, raw: bytes) -> np.ndarray:
    """A point of the set, in its type: as it is, well inside, or some weights a few units in the last place off."""
    how = raw[0] % 6
    if how == 0:
        return point
    if how == 1:
        return (point.astype(np.float64) * 0.9).astype(point.dtype)
    info = ml_dtypes.finfo(point.dtype)
    ulps = np.frombuffer(raw, np.uint8).astype(np.float64) % 5 - 2 if how < 4 else np.full(len(point), how - 3.5)
    moved = point.astype(np.float64) * (1.0 + float(info.eps) * 2.0 ** (how % 2) * ulps)
    return moved.astype(point.dtype)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Groups as hypothesis shows them when a law fails; the law itself shows the group that broke it.

    Attributes:
      stack: their shape and type.
      w: [groups, weights], of that type.
    """

    stack: Stack
    w: np.ndarray = dataclasses.field(repr=False)


@st.composite
def stacks(draw: st.DrawFn, case: Case, dtypes: list[str], shapes: list[tuple[int, int]], groups: int) -> Drawn:
    """Draws a type, a shape, and the groups, all finite.

    Args:
      case: the set.
      dtypes: the types to choose from.
      shapes: what to choose size and units from; few of them, as each is a trace of its own.
      groups: how many groups.
    """
    stack = Stack(case, draw(st.sampled_from(dtypes)), draw(st.sampled_from(shapes)), groups)
    made = [draw(recipes(stack.dtype, stack.weights)) for _ in range(groups)]
    if draw(st.integers(0, 7)):  # Shrinks to the recipes as they are, if those fail too.
        made = _told_apart(made)
    # Half, as a group less its mean must be numbers of the type too.
    largest = 0.5 * oracles.largest(stack.dtype)
    wide = np.array([recipe.group(case, stack.dtype) for recipe in made])
    flat = np.clip(wide, -largest, largest).astype(DTYPES[stack.dtype])
    near = [index for index, recipe in enumerate(made) if recipe.kind == NEAR]
    if near:
        points = stack.project(flat)
        for index in near:
            flat[index] = nudged(points[index], made[index].raw)
    return Drawn(stack, flat)
