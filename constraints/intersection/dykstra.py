"""Dykstra's algorithm: the nearest point of an intersection of convex sets, from their projections alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from .. import numerics
from .per_unit import Stage, broadcast_over_groups, flatten_groups

Map = Callable[[tf.Tensor], tf.Tensor]

# Cycles that are made one by one outside a graph; more of them take longer than compiling a graph.
_ONE_BY_ONE = 64
# Distance from a set, relative to the group, that float64 projections can be expected to reach.
_EXACT = 2.0**-48


class Found(NamedTuple):
    """What iterating led to.

    Attributes:
      point: float64, the canonical layout.
      inner: for each map the point that it was last applied to.
      iterations: int32 scalar, cycles through all maps.
    """

    point: tf.Tensor
    inner: list[tf.Tensor]
    iterations: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Dykstra:
    """The nearest point of the intersection of convex sets, each given by its own projection.

    A cycle projects onto one set after the other, each time from the point less the correction, which is what that
    set's projection took off in the cycle before. A group is done when a cycle changed its corrections by at most
    `accuracy`, relative to the group: points may stand still for many cycles, corrections do not. The distance that is
    left is then taken off by projecting onto one set after the other.

    The derivative solves the same problem among the sets' own derivatives, taken where the last cycle applied them; see
    docs/math/dykstra.md. It exists where each set's does and the sets' normals are independent.

    Attributes:
      stages: the sets.
      accuracy: largest change of a last cycle, relative to the group's norm.
      max_iterations: bound on the number of cycles, and on that of projections that follow.

    References:
      Boyle and Dykstra, "A method for finding projections onto the intersection of convex sets in Hilbert spaces",
      1986.
      Birgin and Raydan, "Robust stopping criteria for Dykstra's algorithm", 2005.
      Bauschke and Combettes, "Convex Analysis and Monotone Operator Theory in Hilbert Spaces", 2017, section 30.2.
    """

    stages: Sequence[Stage]
    accuracy: float
    max_iterations: int

    def _project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.solve(x).point

    def solve(self, x: tf.Tensor) -> Found:
        """The nearest point, where each set's projection was last applied, and how many cycles that took.

        Args:
          x: float64, the canonical layout, finite.
        """
        found = self._iterate(self._maps(), x)
        return found._replace(point=self.approached(found.point))

    def _vjp(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        inner = self.solve(x).inner
        derivatives = [
            lambda v, stage=stage, y=y: stage._vjp(y, v, tf.float64)
            for stage, y in zip(self.stages, inner, strict=True)
        ]
        return self._iterate(derivatives, upstream).point

    def _iterate(self, maps: Sequence[Map], x: tf.Tensor) -> Found:
        size = numerics.l2(flatten_groups(x), tf.float64)

        def cycle(
            z: tf.Tensor, taken: list[tf.Tensor], inner: list[tf.Tensor], moving: tf.Tensor, count: tf.Tensor
        ) -> tuple:
            here, new_taken, new_inner = z, [], []
            change = tf.zeros_like(size)
            for apply, before, last in zip(maps, taken, inner, strict=True):
                y = here + before
                after = apply(y)
                # The change of the correction: y less where it led, less the correction before.
                change += numerics.l2(flatten_groups(here - after), tf.float64)
                new_taken.append(tf.where(broadcast_over_groups(moving, x), y - after, before))
                new_inner.append(tf.where(broadcast_over_groups(moving, x), y, last))
                here = after
            z = tf.where(broadcast_over_groups(moving, x), here, z)
            scale = tf.maximum(size, numerics.l2(flatten_groups(z), tf.float64))
            return z, new_taken, new_inner, moving & (change > self.accuracy * scale), count + 1

        start = (
            x,
            [tf.zeros_like(x) for _ in maps],
            [x for _ in maps],
            tf.ones_like(size, tf.bool),
            tf.constant(0),
        )
        z, _, inner, _, count = _repeated(
            lambda *state: tf.reduce_any(state[3]) & (state[4] < self.max_iterations), cycle, start
        )
        return Found(z, inner, count)

    def approached(self, z: tf.Tensor) -> tf.Tensor:
        """Where projecting onto one set after the other leads from z, the intersection if there is any."""
        maps = self._maps()

        def cycle(z: tf.Tensor, moving: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            here = z
            for apply in maps:
                here = apply(here)
            moved = numerics.l2(flatten_groups(here - z), tf.float64)
            far = moved > _EXACT * numerics.l2(flatten_groups(z), tf.float64)
            return tf.where(broadcast_over_groups(moving, z), here, z), moving & far, count + 1

        start = z, tf.ones([flatten_groups(z).shape[1]], tf.bool), tf.constant(0)
        return _repeated(lambda _, moving, count: tf.reduce_any(moving) & (count < self.max_iterations), cycle, start)[
            0
        ]

    def _maps(self) -> list[Map]:
        # As float64: the room that a narrower type's rounding is given by a set would end the cycles early.
        return [functools.partial(_projected, stage) for stage in self.stages]


def _repeated(going: Callable[..., tf.Tensor], cycle: Callable[..., tuple], state: tuple) -> tuple:
    """A `tf.while_loop`, which outside a graph goes on in one when there are many cycles."""
    for _ in range(_ONE_BY_ONE if tf.executing_eagerly() else 0):
        if not going(*state):
            return state
        state = cycle(*state)

    def rest(*state: Any) -> tuple:
        return tf.while_loop(going, cycle, state)

    return tf.function(rest, autograph=False)(*state) if tf.executing_eagerly() else rest(*state)


def _projected(stage: Stage, x: tf.Tensor) -> tf.Tensor:
    return stage._project(x, tf.float64)
