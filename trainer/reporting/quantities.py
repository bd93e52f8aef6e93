"""What a set bounds of its groups, and whether the bound holds: in NumPy float64, apart from every projection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..packages import constraints

# What float64 may leave in a sum or a norm of millions of weights, or in singular values, relative to it.
SUMS = 1e-9
# Bits of each type's fraction, and the smallest magnitude it keeps: TensorFlow flushes most subnormals to zero.
_FRACTION = {"float16": 10, "bfloat16": 7, "float32": 23, "float64": 52}
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number of each group, and the bounds that it must keep.

    Attributes:
      words: what it is, for people.
      values: float64 [groups].
      low: its smallest value, if it has one.
      high: its largest value, if it has one.
      tolerance: how far it may miss a bound, relative to `scale`; 0 for what is counted, compared with 0 or bounded
        weight by weight.
      scale: float64 [groups], what violations are relative to; None: the bound itself.
      room: an absolute amount that it may miss a bound by as well, for numbers near the smallest of the type.
    """

    words: str
    values: np.ndarray
    low: float = -math.inf
    high: float = math.inf
    tolerance: float = 0.0
    scale: np.ndarray | None = None
    room: float = 0.0

    def judged(self, places: tuple[int, ...]) -> dict[str, Any]:
        """The verdict on the worst group, as a certificate says it.

        Args:
          places: the shape that the groups have in the tensor, whose product is their number.

        Returns:
          `quantity`, `worst_value`, `at_least` and `at_most` (None where there is no such bound), `worst_group` (its
          place, a list of numbers; None without groups), `largest_violation` (relative; 0 inside), `tolerance` and
          `feasible`.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            # Negative inside. The least weight of a group without weights is inf, which is inside whatever the bound.
            apart = self.low - self.values, self.values - self.high
            below, above = (np.where(np.isnan(gap), -math.inf, gap) for gap in apart)
            miss = np.where(np.isnan(self.values), math.inf, np.maximum(below, above) - self.room)
            bound = np.abs(np.where(below > above, self.low, self.high)) if self.scale is None else self.scale
            # Relative to the value itself where the bound is 0, so that any miss is one of 100 %.
            scale = np.where(bound > 0.0, bound, np.abs(self.values))
            relative = np.divide(miss, scale, out=np.sign(miss), where=(scale > 0.0) & np.isfinite(scale))
            holds = miss <= (self.tolerance * bound if self.tolerance else 0.0)
        # The worst of those that break the bound, if any does: what rounding forgives may be more.
        order = relative if np.all(holds) else np.where(holds, -math.inf, relative)
        worst = int(np.argmax(order)) if order.size else None
        value, violation = (0.0, 0.0) if worst is None else (self.values[worst], max(relative[worst], 0.0))
        return {
            "quantity": self.words,
            "worst_value": number(value),
            "at_least": number(self.low),
            "at_most": number(self.high),
            "worst_group": None if worst is None else [int(place) for place in np.unravel_index(worst, places)],
            "largest_violation": number(violation),
            "tolerance": float(self.tolerance),
            "feasible": bool(np.all(holds)),
        }


@dataclasses.dataclass(frozen=True)
class Seen:
    """Weights as one set sees them.

    Attributes:
      part: the set, whose hyperparameters are numbers.
      x: float64 [groups, size], or [groups, size, units] for a set of matrices.
      places: the shape that the groups have in the tensor.
      inside: axes of the tensor along which the weights of a group, or of a unit, lie.
      shape: shape of the tensor.
      type: name of the weights' own type.
    """

    part: constraints.Constraint
    x: np.ndarray
    places: tuple[int, ...]
    inside: list[int]
    shape: tuple[int, ...]
    type: str

    @classmethod
    def of(
        cls, part: constraints.Constraint, w: np.ndarray, axes: Any, each: Any, joint: bool, whole: bool = False
    ) -> Seen:
        """Sees the weights of a tensor.

        Args:
          part: the set.
          w: weights of any shape.
          axes: axes along which the weights of a group, or of a unit, lie; None for the set's own default: all axes, or
            all but the last and `each`.
          each: axes whose places have a matrix of their own.
          joint: whether to see matrices.
          whole: whether a group is the whole tensor where no axes are given.
        """
        apart, inside = positive(w.ndim, each), positive(w.ndim, axes)
        if axes is None and not joint and whole:
            inside = list(range(w.ndim))
        elif axes is None:
            rest = [axis for axis in range(w.ndim) if axis not in apart]
            inside = rest[: max(len(rest) - 1, min(len(rest), 1))]
        x, places = matrices(w, inside, apart) if joint else vectors(w, inside)
        return cls(part, x, places, inside, w.shape, w.dtype.name)

    def bound(self, name: str) -> float:
        """A hyperparameter."""
        return float(self.part.value(name))

    @property
    def size(self) -> int:
        """Weights of a group, or of a unit of a set of matrices."""
        return self.x.shape[1]

    @property
    def half(self) -> float:
        """What rounding a weight to the nearest number of its type may change it by, relative to it."""
        return 0.5 * self.epsilon

    @property
    def epsilon(self) -> float:
        """Distance from 1 to the next number of the weights' type."""
        return 2.0 ** -_FRACTION[self.type]

    @property
    def quantum(self) -> float:
        """The smallest magnitude that the weights' type keeps."""
        return _SMALLEST[self.type]


def vectors(w: np.ndarray, inside: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Each group's weights as a row.

    Args:
      w: weights of any shape.
      inside: axes along which the weights of one group lie.

    Returns:
      float64 [groups, size], row-major, and the shape of the groups.
    """
    outside = [axis for axis in range(w.ndim) if axis not in inside]
    x, (groups, size) = _turned(w, outside, inside)
    return x.reshape(groups, size), tuple(w.shape[axis] for axis in outside)


def matrices(w: np.ndarray, inside: Sequence[int], apart: Sequence[int]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Each group's weights as a matrix whose columns are units.

    Args:
      w: weights of any shape.
      inside: axes along which one unit's weights lie.
      apart: axes whose places have a matrix of their own.

    Returns:
      float64 [groups, size, units] and the shape of the groups.
    """
    x, sizes = _turned(w, apart, inside, [axis for axis in range(w.ndim) if axis not in (*inside, *apart)])
    return x.reshape(sizes), tuple(w.shape[axis] for axis in apart)


def positive(rank: int, axes: Any) -> list[int]:
    """Axes as a set has them, None, one or several, as increasing numbers from 0."""
    several = () if axes is None else axes if isinstance(axes, (tuple, list)) else (axes,)
    return sorted(int(axis) % rank for axis in several)


def _turned(w: np.ndarray, *axes: Sequence[int]) -> tuple[np.ndarray, list[int]]:
    """The axes in a new order, in float64, and how many weights lie along each part of them."""
    order = [axis for some in axes for axis in some]
    sizes = [math.prod(w.shape[axis] for axis in some) for some in axes]
    return np.transpose(w, order).astype(np.float64, order="C"), sizes


def number(value: float) -> float | None:
    """The value as JSON can hold it, which knows neither NaN nor infinity."""
    return float(value) if math.isfinite(value) else None
