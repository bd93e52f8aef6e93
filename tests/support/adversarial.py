"""Groups that a projection's shortcuts may misjudge, such as one at its bound beside very many tiny weights."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import ml_dtypes
import numpy as np

from constraints import numerics
from tests.support import cases, oracles
from tests.support.cases import Case
from tests.support.oracles import DTYPES
from tests.support.strategies import Stack


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a kind of group is made of.

    Attributes:
      bound: the set's bound, or 1.
      count: weights of a group.
      dtype: their type.
    """

    bound: float
    count: int
    dtype: str

    @property
    def epsilon(self) -> float:
        return oracles.epsilon(self.dtype)

    @property
    def subnormal(self) -> float:
        """The smallest number of the type above 0."""
        return float(ml_dtypes.finfo(DTYPES[self.dtype]).smallest_subnormal)

    @property
    def huge(self) -> float:
        """A number whose sums over a group are still numbers of the type."""
        return min(1e30, oracles.largest(self.dtype) / (4.0 * self.count))

    @property
    def slack(self) -> float:
        """What a float64 sum of the group may be off by, relative to it."""
        return numerics.slack(self.count)

    def sizes(self) -> np.ndarray:
        return np.random.default_rng(self.count).exponential(size=self.count)

    def beside(self, crumb: float, first: float = 1.0) -> np.ndarray:
        """One weight at the bound, and crumbs relative to it that a test of that weight alone does not see."""
        group = np.full(self.count, crumb * self.bound)
        group[0] = first * self.bound
        return group

    def at_norm(self, order: int, ulps: float) -> np.ndarray:
        """Weights of many sizes whose norm is the bound, but for some units in the last place of the largest."""
        group = self.sizes()
        group = (group * (self.bound / np.linalg.norm(group, order))).astype(DTYPES[self.dtype]).astype(np.float64)
        place = np.argmax(group)
        group[place] = max(self.bound**order - np.sum(np.delete(group, place) ** order), 0.0) ** (1.0 / order)
        group[place] = float(group[place].astype(DTYPES[self.dtype])) * (1.0 + ulps * self.epsilon)
        return group


def _crumbs(s: Setting) -> np.ndarray:
    group = s.beside(0.485 * s.slack)
    group[1:2] = 0.99 * s.slack * s.bound
    return group


def _clusters(s: Setting) -> np.ndarray:
    return s.bound / s.count * np.where(np.arange(s.count) % 2, 1.0, 1.0 + 4.0 * s.epsilon)


def _huge(s: Setting) -> np.ndarray:
    group = s.sizes() * s.bound / s.count
    group[-1] = s.huge
    return group


def _huge_pair(s: Setting) -> np.ndarray:
    group = _huge(s)
    group[0] = -group[-1] if s.count > 1 else group[0]
    return group


def _few_and_subnormals(s: Setting) -> np.ndarray:
    group = np.resize([s.subnormal, -s.subnormal, 3 * s.subnormal, -0.0], s.count)
    group[0] = s.bound
    return group


def _at_norms(order: int) -> dict[str, Callable[[Setting], np.ndarray]]:
    return {
        f"l{order} norm {ulps} ulps over": functools.partial(Setting.at_norm, order=order, ulps=ulps)
        for ulps in (-100, -2, -1, 0, 1, 2, 10, 100)
    }


# By family, as one group that a shortcut cannot take may send its whole tensor another way.
FAMILIES: dict[str, dict[str, Callable[[Setting], np.ndarray]]] = {
    "crumbs": {
        "below the slack": _crumbs,
        "of half an ulp": lambda s: s.beside(0.49 * s.epsilon),
        "beside a little less": lambda s: s.beside(0.485 * s.slack, 1.0 - s.epsilon),
        "whose squares are below the slack": lambda s: s.beside((0.485 * s.slack) ** 0.5),
        "whose squares are half an ulp": lambda s: s.beside((0.49 * s.epsilon) ** 0.5),
        "that add up to the bound": lambda s: s.beside(1.0 / s.count),
    },
    "norms": {**_at_norms(1), **_at_norms(2)},
    "ties": {
        "equal, at the bound": lambda s: np.full(s.count, s.bound / s.count),
        "equal, squares at the bound": lambda s: np.full(s.count, s.bound / s.count**0.5),
        "equal, 2 ulps over": lambda s: np.full(s.count, s.bound / s.count * (1 + 2 * s.epsilon)),
        "equal but one": lambda s: s.beside(1.0 / s.count, (1 + 10 * s.epsilon) / s.count),
        "two clusters": _clusters,
        "few values": lambda s: np.resize([0.5, 0.25, -0.5, 0.25, 0.0], s.count) * s.bound,
    },
    "huge": {"one": _huge, "a pair": _huge_pair},
    "subnormals": {"beside the bound": _few_and_subnormals, "alone": lambda s: np.full(s.count, 3 * s.subnormal)},
}


def with_exact_bounds(case: Case) -> Case:
    """The case with bounds that are numbers of every type, so that a single weight can be at them."""
    values = tuple(
        (name, value if name == "sparsity" else float(np.float64(value).astype(DTYPES["bfloat16"])))
        for name, value in case.values
    )
    return dataclasses.replace(case, values=values)


CASES = [with_exact_bounds(case) for case in cases.CASES]


def stack_of(case: Case, family: str, dtype: str, shape: tuple[int, int]) -> tuple[Stack, np.ndarray]:
    """All groups of a family, with the signs as they are and with random ones.

    Args:
      case: the set.
      family: of `FAMILIES`.
      dtype: the weights' type.
      shape: of a group.

    Returns:
      The stack, and its groups, [groups, weights] in its type.
    """
    kinds = FAMILIES[family].values()
    stack = Stack(case, dtype, shape, 2 * len(kinds))
    numbers = dict(case.values)
    setting = Setting(abs(numbers.get("max_value", numbers.get("total", 1.0))), stack.weights, dtype)
    plain = np.array([kind(setting) for kind in kinds])
    signs = np.random.default_rng(1).choice([1.0, -1.0], plain.shape)
    return stack, np.concatenate([plain, plain * signs]).astype(DTYPES[dtype])
