"""Dykstra's algorithm: the nearest point of an intersection of convex sets, from their projections alone."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from .. import numerics
from .per_unit import Stage, apart, together

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

    A cycle projects onto one set after the other, each time from the point less what that set's projection took off in
    the cycle before; without this correction a cycle would end in the intersection, but not at its nearest point. It
    converges to the nearest point, for sets bounded by planes at a geometric rate in the end.

    A group is done when a cycle changed the corrections by no more than `accuracy`, relative to the group: the points
    may stand still for many cycles before they move on, the corrections do not. Groups that are done move no more.
    What distance from the sets is left then is taken off by projecting onto one after the other.

    The derivative of the projection at x solves the same problem among the sets' own derivatives J_i, taken where the
    last cycle applied them: p = P_i(p + q_i) and sum q_i = x - p give dp = J_i (dp + dq_i) and sum dq_i = dx - dp,
    whose solution is what the iteration converges to with J_i in place of P_i. It is symmetric, as the derivative of
    a projection onto a convex set is the second derivative of a function, so it is its own transpose. It exists where
    each set's does and the sets' normals at p are independent.

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

    def project(self, x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        return self.solve(x).point

    def solve(self, x: tf.Tensor) -> Found:
        """The nearest point, where each set's projection was last applied, and how many cycles that took.

        Args:
          x: float64, the canonical layout, finite.
        """
        found = self._iterate(self._maps(), x)
        return found._replace(point=self.approached(found.point))

    def pullback(self, x: tf.Tensor, upstream: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        inner = self.solve(x).inner
        derivatives = [
            lambda v, stage=stage, y=y: stage.pullback(y, v, tf.float64)
            for stage, y in zip(self.stages, inner, strict=True)
        ]
        return self._iterate(derivatives, upstream).point

    def _iterate(self, maps: Sequence[Map], x: tf.Tensor) -> Found:
        size = numerics.l2(together(x), tf.float64)

        def cycle(
            z: tf.Tensor, taken: list[tf.Tensor], inner: list[tf.Tensor], moving: tf.Tensor, count: tf.Tensor
        ) -> tuple:
            here, new_taken, new_inner = z, [], []
            change = tf.zeros_like(size)
            for apply, before, last in zip(maps, taken, inner, strict=True):
                y = here + before
                there = apply(y)
                # The change of the correction: y less where it led, less the correction before.
                change += numerics.l2(together(here - there), tf.float64)
                new_taken.append(tf.where(apart(moving, x), y - there, before))
                new_inner.append(tf.where(apart(moving, x), y, last))
                here = there
            z = tf.where(apart(moving, x), here, z)
            scale = tf.maximum(size, numerics.l2(together(z), tf.float64))
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
            moved = numerics.l2(together(here - z), tf.float64)
            far = moved > _EXACT * numerics.l2(together(z), tf.float64)
            return tf.where(apart(moving, z), here, z), moving & far, count + 1

        start = z, tf.ones([together(z).shape[1]], tf.bool), tf.constant(0)
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
    return stage.project(x, tf.float64)
